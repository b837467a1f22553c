//! One flipped bit, found by trying: what carries its hash elsewhere can be put right without a copy.

/// The largest thing that is tried: each bit costs a hash of all bytes.
const LARGEST: usize = 32 << 10;

/// Flips each bit in turn until the bytes are `sound`; returns the sound bytes.
pub(crate) fn flip_back(bytes: &[u8], sound: &dyn Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    if bytes.len() > LARGEST {
        return None;
    }
    let mut bytes = bytes.to_vec();
    for index in 0..bytes.len() {
        for bit in 0..8 {
            bytes[index] ^= 1 << bit;
            if sound(&bytes) {
                return Some(bytes);
            }
            bytes[index] ^= 1 << bit;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_store::id::PackId;

    #[test]
    fn one_flipped_bit_is_found_and_two_are_not() {
        let bytes = b"what was written".to_vec();
        let id = PackId::of(&bytes);
        let sound = |bytes: &[u8]| PackId::of(bytes) == id;
        let mut flipped = bytes.clone();
        flipped[7] ^= 0x10;
        assert_eq!(flip_back(&flipped, &sound), Some(bytes));
        flipped[3] ^= 0x01;
        assert_eq!(flip_back(&flipped, &sound), None);
        assert_eq!(flip_back(&vec![0; LARGEST + 1], &|_| true), None);
    }
}
