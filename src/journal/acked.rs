//! What a lane has settled beyond its cursor, as a bitmap: bit i (from the least significant of the first
//! byte on) stands for the sequence cursor + 1 + i. Zero bytes at its end are cut off.

use super::MAX_WINDOW;
use crate::event::Sequence;

/// The bitmap of `acked` behind `cursor`, `None` if it is empty. What the cursor has passed is left out.
/// `Err`: the first sequence that is too far away.
pub(super) fn encode(cursor: Sequence, acked: &[Sequence]) -> Result<Option<Vec<u8>>, Sequence> {
    let mut bits = Vec::new();
    for sequence in acked.iter().copied().filter(|sequence| *sequence > cursor) {
        let place = sequence - cursor - 1;
        if place >= MAX_WINDOW {
            return Err(sequence);
        }
        let byte = (place / 8) as usize;
        if bits.len() <= byte {
            bits.resize(byte + 1, 0_u8);
        }
        bits[byte] |= 1 << (place % 8);
    }
    Ok((!bits.is_empty()).then_some(bits))
}

/// The sequences of a bitmap that begins behind `from`, ascending.
pub(super) fn decode(from: Sequence, bits: &[u8]) -> Vec<Sequence> {
    let mut acked = Vec::new();
    for (index, byte) in bits.iter().enumerate().take((MAX_WINDOW / 8) as usize) {
        for bit in (0..8).filter(|bit| byte & (1 << bit) != 0) {
            acked.push(from.saturating_add(index as u64 * 8 + bit + 1));
        }
    }
    acked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bitmap_is_read_as_it_was_written(
            cursor in 0_u64..1 << 40,
            places in prop::collection::btree_set(0..MAX_WINDOW, 0..200),
        ) {
            let acked: Vec<_> = places.iter().map(|place| cursor + 1 + place).collect();
            let bits = encode(cursor, &acked).unwrap();
            prop_assert_eq!(bits.is_none(), acked.is_empty());
            let bits = bits.unwrap_or_default();
            prop_assert!(bits.last() != Some(&0) && bits.len() <= 512);
            prop_assert_eq!(decode(cursor, &bits), acked);
        }
    }

    #[test]
    fn it_holds_what_is_near() {
        assert_eq!(encode(10, &[5, 10]), Ok(None));
        assert_eq!(encode(10, &[11, 13, 19]), Ok(Some(vec![0b101, 1])));
        assert_eq!(encode(10, &[10 + MAX_WINDOW, 11 + MAX_WINDOW]), Err(11 + MAX_WINDOW));
        assert_eq!(decode(0, &[0xFF; 600]).len() as u64, MAX_WINDOW);
    }
}
