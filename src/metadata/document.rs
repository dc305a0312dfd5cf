//! Decodes and checks a document (RFC 8414 sections 3.2 and 3.3).

use std::borrow::Cow;
use std::sync::Arc;

use http::Uri;
use http::response::Parts;
use serde_json::Value;

use super::lists::{LISTS, TextList};
use super::{Endpoint, Metadata, MetadataContents};
use crate::error::{TokenError, TokenErrorKind};
use crate::protocol::json::{JsonResponse, Members, has_error, value};
use crate::protocol::origin::{self, parse_absolute};
use crate::util::byte_order_mark;
use crate::util::printable::{self, UrlWithoutSecrets};

pub(super) struct Rules<'a> {
    /// The issuer as it was configured.
    pub(super) issuer: &'a str,
    /// `true` if this machine serves the document.
    pub(super) is_from_loopback: bool,
    pub(super) allow_http: bool,
}

pub(super) enum Decoded {
    Metadata(Metadata),
    /// The response is not such a document, so the other document may exist.
    NoDocument(TokenError),
}

/// Decodes a response from the well-known URI of a document.
pub(super) fn decode(head: Parts, body: &[u8], rules: &Rules<'_>) -> Result<Decoded, TokenError> {
    use TokenErrorKind::{ErrorResponse, InvalidMetadata, MalformedResponse, Redirect};

    let response = JsonResponse::new(head, body);
    let status = response.head.status;
    if status.is_redirection() {
        return Ok(Decoded::NoDocument(response.refuse(Redirect, "")));
    }
    if !status.is_success() {
        return Ok(Decoded::NoDocument(response.refuse(ErrorResponse, "")));
    }
    let Some(members) = &response.members else {
        return Ok(Decoded::NoDocument(response.refuse(MalformedResponse, "")));
    };
    if !members.contains_key("issuer") {
        return Ok(Decoded::NoDocument(if has_error(members) {
            response.refuse(ErrorResponse, "")
        } else {
            response.refuse(InvalidMetadata, "the document has no issuer")
        }));
    }
    match read(members, body, rules) {
        Ok(inner) => Ok(Decoded::Metadata(Metadata(Arc::new(inner)))),
        Err(note) => Err(response.refuse(InvalidMetadata, note)),
    }
}

fn read(
    members: &Members<'_>,
    body: &[u8],
    rules: &Rules<'_>,
) -> Result<MetadataContents, Cow<'static, str>> {
    match value(members, "issuer") {
        Some(Value::String(issuer)) if issuer == rules.issuer => {}
        Some(Value::String(issuer)) => return Err(other_issuer(&issuer)),
        _ => return Err("the issuer in the document is not a string".into()),
    }
    let token_endpoint = match value(members, "token_endpoint") {
        Some(Value::String(text)) => rules.endpoint(text).map_err(|error| match error {
            EndpointError::Uri => {
                "token_endpoint is not an absolute URI without user information and fragment"
            }
            EndpointError::Insecure => "token_endpoint is not https",
        })?,
        Some(_) => return Err("token_endpoint is not a string".into()),
        None => return Err("the document has no token_endpoint".into()),
    };
    // A nested object that cannot be read counts as absent, like any other invalid member.
    let aliases = value(members, "mtls_endpoint_aliases");
    let alias = aliases.as_ref().and_then(|aliases| aliases.get("token_endpoint")?.as_str());
    let mtls_token_endpoint = match alias {
        Some(text) => Some(rules.endpoint(text.to_owned()).map_err(|error| match error {
            EndpointError::Uri => {
                "token_endpoint in mtls_endpoint_aliases is not an absolute URI without user \
                 information and fragment"
            }
            EndpointError::Insecure => "token_endpoint in mtls_endpoint_aliases is not https",
        })?),
        None => None,
    };
    let optional = |name| match value(members, name)? {
        Value::String(text) => rules.endpoint(text).ok().map(|endpoint| endpoint.uri),
        _ => None,
    };
    Ok(MetadataContents {
        issuer: rules.issuer.to_owned(),
        token_endpoint,
        mtls_token_endpoint,
        introspection_endpoint: optional("introspection_endpoint"),
        revocation_endpoint: optional("revocation_endpoint"),
        lists: LISTS.map(|name| TextList::new(value(members, name).as_ref())),
        document: byte_order_mark::skip(body).into(),
    })
}

/// Returns the fault of a document of another issuer. It shows at most 80 printable characters.
fn other_issuer(found: &str) -> Cow<'static, str> {
    let fault = "the issuer in the document is not exactly the configured one";
    match &*printable::bounded(UrlWithoutSecrets(found), 80) {
        "" => fault.into(),
        found => format!("{fault}, but {found}").into(),
    }
}

/// Says why an endpoint is invalid.
enum EndpointError {
    Uri,
    Insecure,
}

impl Rules<'_> {
    /// Checks that secrets may be sent to an endpoint.
    ///
    /// Clear text is allowed to a loopback address only if the document comes from loopback too,
    /// because another machine must not direct secrets to a port of this machine.
    fn endpoint(&self, text: String) -> Result<Endpoint, EndpointError> {
        let uri = parse_absolute(&text, "endpoint").map_err(|_| EndpointError::Uri)?;
        let may_be_clear = self.allow_http || self.is_from_loopback && is_loopback(&uri);
        if is_https(&uri) || is_http(&uri) && may_be_clear {
            Ok(Endpoint { uri, text })
        } else {
            Err(EndpointError::Insecure)
        }
    }
}

pub(super) fn is_https(uri: &Uri) -> bool {
    uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

pub(super) fn is_http(uri: &Uri) -> bool {
    uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))
}

pub(super) fn is_loopback(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| origin::is_loopback(&host.to_ascii_lowercase()))
}
