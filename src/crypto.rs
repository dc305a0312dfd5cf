//! The cryptography backend: `aws-lc-rs` if its feature is enabled, otherwise `ring`.
//!
//! Both have the same API, except for the functions of this module. If both are enabled,
//! `aws-lc-rs` is used, because it supports more algorithms, and a feature must not take one away.

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!(
    "the features `jwt` and `encryption` of tower-oauth2 need a cryptography backend: \
     enable its feature `ring` or `aws-lc-rs`"
);

#[cfg(feature = "aws-lc-rs")]
pub(crate) use aws_lc_rs::*;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(crate) use ring::*;

/// Creates a key pair from the private number and the uncompressed public point.
#[cfg(feature = "jwt")]
pub(crate) fn ecdsa_key_pair(
    algorithm: &'static signature::EcdsaSigningAlgorithm,
    private: &[u8],
    public: &[u8],
) -> Result<signature::EcdsaKeyPair, error::KeyRejected> {
    signature::EcdsaKeyPair::from_private_key_and_public_key(
        algorithm,
        private,
        public,
        // `ring` needs random numbers for blinding while it compares the two parts.
        #[cfg(not(feature = "aws-lc-rs"))]
        &rand::SystemRandom::new(),
    )
}
