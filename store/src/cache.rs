//! What was asked for not long ago.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// What takes memory.
pub(crate) trait Weight {
    /// Returns about how much, in bytes.
    fn weight(&self) -> usize;
}

/// Values in two generations. What is asked for moves to the young one; when that holds half of the
/// budget it becomes the old one, and what was not asked for in the meantime is let go.
pub(crate) struct Cache<K, V> {
    /// How much memory all values together may take, in bytes.
    budget: usize,
    young: HashMap<K, Arc<V>>,
    old: HashMap<K, Arc<V>>,
    /// What the young ones take, in bytes.
    weight: usize,
}

impl<K: Copy + Eq + Hash, V: Weight> Cache<K, V> {
    /// Starts empty.
    pub fn new(budget: usize) -> Self {
        Self { budget, young: HashMap::new(), old: HashMap::new(), weight: 0 }
    }

    /// Returns a value if it is here.
    pub fn get(&mut self, key: &K) -> Option<Arc<V>> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(*key, value.clone());
        Some(value)
    }

    /// Adds a value.
    pub fn insert(&mut self, key: K, value: Arc<V>) {
        let weight = value.weight() + size_of::<(K, Arc<V>)>();
        if self.weight + weight > self.budget / 2 {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        if self.young.insert(key, value).is_none() {
            self.weight += weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Weighs(usize);

    impl Weight for Weighs {
        fn weight(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let weight = 1000;
        let kept = Arc::new(Weighs(weight));
        let mut cache = Cache::new(8 * (weight + 100));
        cache.insert(0, kept.clone());
        for other in 1..100 {
            cache.insert(other, Arc::new(Weighs(weight)));
            assert!(cache.get(&0).is_some_and(|found| Arc::ptr_eq(&found, &kept)));
        }
        let left = (1..100).filter(|other| cache.get(other).is_some()).count();
        assert!((1..=8).contains(&left), "{left} of 99");
    }
}
