use std::fmt;

/// Displays a URL without its possible secrets.
///
/// These are user information, query and fragment.
///
/// The URL need not be valid. Only a scheme, a host, a port and a path are displayed. A text
/// without a scheme is displayed only if it begins like a host name, because it may be a secret at
/// the place of a URL, or a connection string with a password.
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
        let rest = match (rest.rfind('@'), rest.find(['?', '#'])) {
            // A password may contain these characters, and a query may contain an `@`.
            (Some(at), Some(end)) if end < at => return f.write_str("..."),
            (Some(at), _) => {
                f.write_str("...@")?;
                &rest[at + 1..]
            }
            (None, _) if scheme.is_none() && !begins_with_host(rest) => return Ok(()),
            (None, _) => rest,
        };
        let (shown, hidden) = rest.split_at(shown_len(rest, scheme.is_some()));
        f.write_str(shown)?;
        match hidden.as_bytes().first() {
            None => Ok(()),
            Some(b'?') if scheme.is_some() => f.write_str("?..."),
            Some(b'#') if scheme.is_some() => f.write_str("#..."),
            Some(_) => f.write_str("..."),
        }
    }
}

/// Returns the length of host, port and path. A path is shown only after a scheme.
fn shown_len(rest: &str, has_scheme: bool) -> usize {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._~[]:".contains(c);
    let authority = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let port = rest[..authority].rfind(':').filter(|_| !rest.starts_with('['));
    if let Some(port) = port {
        if !rest[port + 1..authority].bytes().all(|byte| byte.is_ascii_digit()) {
            return port;
        }
    }
    if !has_scheme || !rest[authority..].starts_with('/') {
        return authority;
    }
    let path = rest[authority..].find(|c| c != '/' && !is_part(c));
    path.map_or(rest.len(), |end| authority + end)
}

/// Returns whether a text is the scheme of a URI (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && text.bytes().all(is_part)
}

/// Returns whether a text begins with a host name in the usual spelling.
///
/// Tokens and keys may have dots too. So all labels must be short and in lower case, and the last
/// one must consist of letters.
fn begins_with_host(text: &str) -> bool {
    let host = text.split(['/', ':', '?', '#', ',']).next().unwrap_or_default();
    let is_label = |label: &str| {
        (1..=20).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host == "localhost"
        || host.contains('.')
            && host.split('.').all(is_label)
            && last.bytes().all(|byte| byte.is_ascii_lowercase())
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
            ("https://auth.test/?", "https://auth.test/?..."),
            ("api.example.com", "api.example.com"),
            ("localhost:8080/token", "localhost:8080..."),
            ("https://[::1]:8080/token", "https://[::1]:8080/token"),
            ("/token?key=s3cr3t", ""),
            ("app.redis.test:6380,password=S3cr3t,ssl=True", "app.redis.test:6380..."),
            ("rediss://app.redis.test:6380,password=S3cr3t", "rediss://app.redis.test:6380..."),
            ("eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl", ""),
            ("SG.abc.def", ""),
            ("my.client:s3cr3t", "my.client..."),
            ("/9j4AAQSkZJRg", ""),
            ("abcdefghijklmnopqrstuvwxyz.com", ""),
            ("s3cr3t", ""),
            ("s3c r3t://x", ""),
            ("s3.cr~3t", ""),
            ("", ""),
        ] {
            assert_eq!(UrlWithoutSecrets(url).to_string(), shown, "{url}");
        }
    }
}
