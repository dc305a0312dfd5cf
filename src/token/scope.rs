//! Compares the granted scope with the requested one (RFC 6749 section 3.3).

/// Returns the requested names that are not granted, with spaces between them.
pub(super) fn missing<'a>(
    granted: &str,
    requested: impl Iterator<Item = &'a str>,
) -> Option<Box<str>> {
    let is_granted = |name: &str| {
        granted.split_ascii_whitespace().any(|granted| granted == name)
            // Some servers separate names by commas.
            || granted.split([' ', ',']).any(|granted| granted == name)
    };
    let missing: Vec<_> =
        requested.filter(|name| !is_placeholder(name) && !is_granted(name)).collect();
    (!missing.is_empty()).then(|| missing.join(" ").into())
}

/// Returns whether a name stands for something else, so that servers do not repeat it: all that the
/// client is allowed (Microsoft), or a refresh token (OpenID Connect Core 1.0 section 11).
fn is_placeholder(name: &str) -> bool {
    name.ends_with(".default") || name == "offline_access"
}
