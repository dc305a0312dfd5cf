//! Recognises methods that servers answer with the request itself.

use http::Method;

/// Returns whether the response to a method contains the headers of the request.
///
/// A client must not send credentials with TRACE, because the response shows them to everyone who
/// can read it (RFC 9110 section 9.3.8). TRACK is a name of TRACE at some servers. The Fetch
/// standard forbids both in any case of letters, because some servers ignore the case.
#[inline]
pub(super) fn is_echoing(method: &Method) -> bool {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::CONNECT
        | Method::PATCH => false,
        Method::TRACE => true,
        _ => is_echoing_extension(method.as_str()),
    }
}

#[cold]
fn is_echoing_extension(method: &str) -> bool {
    ["TRACE", "TRACK"].iter().any(|name| method.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    // W11
    #[test]
    fn only_trace_and_its_other_names_are_echoed() {
        for (method, expected) in [
            ("TRACE", true),
            ("trace", true),
            ("TRACK", true),
            ("Track", true),
            ("GET", false),
            ("PATCH", false),
            ("TRACES", false),
            ("PROPFIND", false),
        ] {
            assert_eq!(is_echoing(&method.parse().unwrap()), expected, "{method}");
        }
    }
}
