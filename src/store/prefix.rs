//! Checks the prefix of all keys of a store.

use std::sync::Arc;

use crate::error::ConfigError;

/// The longest prefix in bytes. memcached limits a key to 250 bytes, of which the store adds up to
/// 70.
const MAX_LENGTH: usize = 180;

/// Returns the default prefix.
pub(super) fn default() -> Arc<str> {
    "tower-oauth2:".into()
}

/// Returns the prefix if it is valid.
///
/// It must have at most 180 bytes, all of them visible ASCII characters.
///
/// All stores have the same rule, although only memcached needs it, so that a store can be replaced
/// by another kind of store without a change to its prefix.
pub(super) fn parse(prefix: &str) -> Result<Arc<str>, ConfigError> {
    const NAME: &str = "key prefix";
    let invalid = |problem| Err(ConfigError::new(NAME, problem).with_value(prefix));
    if prefix.len() > MAX_LENGTH {
        return invalid("must not be longer than 180 bytes");
    }
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        return invalid("must consist of visible ASCII characters");
    }
    Ok(prefix.into())
}
