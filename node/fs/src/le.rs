//! Little-endian integers at fixed places, as the headers of the log and of the store have them.
//!
//! Nobody who reads a header has fewer bytes than it takes: lengths are checked where bytes come
//! from a file. All functions panic where there are fewer.

/// Four bytes from `at` on.
///
/// # Panics
/// If there are fewer.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// Eight bytes from `at` on.
///
/// # Panics
/// If there are fewer.
#[must_use]
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// Eight bytes from `at` on, signed.
///
/// # Panics
/// If there are fewer.
#[must_use]
pub fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..]
        .first_chunk()
        .expect("the caller checked the length")
}
