//! Compares the granted scope with the requested one (RFC 6749 section 3.3).

/// Holds the scope of a token, in a box because few tokens have one.
#[derive(Clone)]
pub(super) struct GrantedScope {
    /// The scope as the server sent it.
    text: Box<str>,
    /// The names in the requested scope that are not granted.
    missing: Option<Box<str>>,
}

impl GrantedScope {
    pub(super) fn new(text: String) -> Self {
        Self { text: text.into(), missing: None }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Compares the scope with the requested names. Returns `None` if that changes nothing.
    pub(super) fn compared_with<'a>(
        &self,
        requested: impl Iterator<Item = &'a str>,
    ) -> Option<Self> {
        let missing = missing(&self.text, requested);
        (self.missing != missing).then(|| Self { text: self.text.clone(), missing })
    }
}

/// Returns the requested names that are not granted, with spaces between them.
fn missing<'a>(granted: &str, requested: impl Iterator<Item = &'a str>) -> Option<Box<str>> {
    let is_granted = |name: &str| {
        granted.split_ascii_whitespace().any(|granted| granted == name)
            // Some servers separate names by commas.
            || granted.split([' ', ',']).any(|granted| granted == name)
    };
    let missing: Vec<_> =
        requested.filter(|name| !is_placeholder(name) && !is_granted(name)).collect();
    (!missing.is_empty()).then(|| missing.join(" ").into())
}

/// Returns whether a name stands for something else.
///
/// Servers do not repeat such a name. It stands for all that the client is allowed (Microsoft), or
/// for a refresh token (OpenID Connect Core 1.0 section 11).
fn is_placeholder(name: &str) -> bool {
    name.ends_with(".default") || name == "offline_access"
}
