//! Lengths in identities.

/// The size of an encoded length.
pub(crate) const LENGTH_SIZE: usize = size_of::<u64>();

/// Encodes a length for an identity.
///
/// It has 64 bits on every machine, because stores share records between machines by a hash of the
/// identity.
pub(crate) fn length_bytes(length: usize) -> [u8; LENGTH_SIZE] {
    (length as u64).to_be_bytes()
}
