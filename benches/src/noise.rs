//! Repeatable pseudo-random numbers and incompressible bytes.
//!
//! The same seed gives the same release on every machine and in every run, so that two runs of
//! the comparison differ in time only. None of it is fit for secrets.

use std::f64::consts::TAU;

/// A splitmix64 stream: one multiplication chain per number, any seed is a good seed.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Starts the stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number in `0..bound`. The bias is below 2⁻⁴⁰ for the bounds used here.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound.max(1) as u64) as usize
    }

    /// Returns a number in `(0, 1]`, never 0, so that its logarithm exists.
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Returns a lognormal number with median 1 and the given sigma.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (sigma * radius * (TAU * self.unit()).cos()).exp()
    }
}

/// A stream of incompressible bytes: eight xorshift lanes, which the compiler turns into vector
/// code, so that generating is never slower than writing.
#[derive(Debug)]
pub struct Noise([u64; Noise::LANES]);

impl Noise {
    const LANES: usize = 8;
    const BLOCK: usize = Self::LANES * size_of::<u64>();

    /// Starts the stream of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x6361_6972_6e00_0000);
        // xorshift stays at zero for ever, so no lane may start there.
        Self(std::array::from_fn(|_| rng.bits() | 1))
    }

    /// Overwrites `buffer` with the next bytes of the stream.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let mut blocks = buffer.chunks_exact_mut(Self::BLOCK);
        for block in &mut blocks {
            self.step();
            for (word, lane) in block.chunks_exact_mut(size_of::<u64>()).zip(&self.0) {
                word.copy_from_slice(&lane.to_le_bytes());
            }
        }
        let rest = blocks.into_remainder();
        if !rest.is_empty() {
            self.step();
            for (word, lane) in rest.chunks_mut(size_of::<u64>()).zip(&self.0) {
                word.copy_from_slice(&lane.to_le_bytes()[..word.len()]);
            }
        }
    }

    fn step(&mut self) {
        for lane in &mut self.0 {
            *lane ^= *lane << 13;
            *lane ^= *lane >> 7;
            *lane ^= *lane << 17;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_whatever_the_length_of_the_buffer() {
        let mut long = [0u8; 200];
        let mut short = [0u8; 67];
        Noise::new(7).fill(&mut long);
        Noise::new(7).fill(&mut short);
        assert_eq!(long[..67], short);
        assert_ne!(long[..64], long[64..128]);
    }

    #[test]
    fn the_lognormal_has_median_one() {
        let mut rng = Rng::new(1);
        let below = (0..10_000).filter(|_| rng.lognormal(1.5) < 1.0).count();
        assert!((4_800..5_200).contains(&below), "{below}");
    }
}
