use std::fmt;

/// Displays a URL without user information, query and fragment, each of which may be a secret.
///
/// The URL need not be valid. A text without a scheme is displayed only if it begins like a host
/// name or a path, because it may be a secret at the place of a URL.
pub(crate) struct UrlWithoutSecrets<'a>(pub(crate) &'a str);

impl fmt::Display for UrlWithoutSecrets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, self.0),
        };
        if let Some(scheme) = scheme {
            write!(f, "{scheme}://")?;
        }
        let end = rest.find(['?', '#']);
        let rest = match (rest.rfind('@'), end) {
            // A password may contain these characters, and a query may contain an `@`.
            (Some(at), Some(end)) if end < at => return f.write_str("..."),
            (Some(at), _) => {
                f.write_str("...")?;
                &rest[at..]
            }
            (None, _) if scheme.is_none() && !is_host_or_path(rest) => return Ok(()),
            (None, _) => rest,
        };
        match rest.find(['?', '#']) {
            Some(end) => write!(f, "{}...", &rest[..=end]),
            None => f.write_str(rest),
        }
    }
}

/// Returns whether a text is the scheme of a URI (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && text.bytes().all(is_part)
}

fn is_host_or_path(text: &str) -> bool {
    let host = text.split(['/', ':', '?', '#']).next().unwrap_or_default();
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.starts_with('/')
        || host == "localhost"
        || host.contains('.') && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    // X3
    #[test]
    fn a_url_is_shown_without_the_parts_that_may_be_secrets() {
        for (url, shown) in [
            ("http://auth.test/token", "http://auth.test/token"),
            ("https://id:s3cr3t@auth.test/token", "https://...@auth.test/token"),
            ("redis://:s3c@r3t@host", "redis://...@host"),
            ("redis://:s3c?r3t@host", "redis://..."),
            ("https://auth.test/token?key=s3cr3t", "https://auth.test/token?..."),
            ("https://auth.test?key=s3@cr3t", "https://..."),
            ("https://auth.test/#s3cr3t", "https://auth.test/#..."),
            ("api.example.com", "api.example.com"),
            ("localhost:8080/token", "localhost:8080/token"),
            ("/token?key=s3cr3t", "/token?..."),
            ("s3cr3t", ""),
            ("s3c r3t://x", ""),
            ("s3.cr~3t", ""),
            ("", ""),
        ] {
            assert_eq!(UrlWithoutSecrets(url).to_string(), shown, "{url}");
        }
    }
}
