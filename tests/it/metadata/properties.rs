use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;

fn fetch(issuer: &str, body: Vec<u8>) -> Result<Metadata, TokenError> {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(Metadata::fetch(issuer, always(200, body)))
}

/// Generates a JSON string with a meaningful text, or with any text.
fn odd_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(format!("\"{ISSUER}\"")),
        Just(format!("\"{ENDPOINT}\"")),
        "\"(https?|ftp)://[a-z@:#/\\[\\]%.]{0,12}\"",
        "\"\\PC{0,8}\"",
        "[\\[\\]{}\",:0-9a-z\\\\]{0,12}",
    ]
}

proptest! {
    #![proptest_config(property(256))]

    #[test]
    fn no_text_of_an_issuer_causes_a_panic(issuer in "(https://)?\\PC{0,20}") {
        if let Ok(metadata) = fetch(&issuer, document().to_string().into_bytes()) {
            prop_assert_eq!(metadata.issuer(), ISSUER);
        }
    }

    #[test]
    fn a_damaged_document_is_an_error_or_has_the_same_issuer(
        at in 0_usize..80,
        damage in vec(any::<u8>(), 0..6),
        cut in 0_usize..6,
    ) {
        let mut body = document().to_string().into_bytes();
        let start = at.min(body.len());
        let end = (start + cut).min(body.len());
        body.splice(start..end, damage);
        if let Ok(metadata) = fetch(ISSUER, body) {
            prop_assert_eq!(metadata.issuer(), ISSUER);
            prop_assert_eq!(metadata.token_endpoint().scheme_str(), Some("https"));
        }
    }

    #[test]
    fn odd_members_are_an_error_or_ignored(
        issuer in odd_value(),
        endpoint in odd_value(),
        aliases in odd_value(),
        alias in odd_value(),
    ) {
        let body = format!(
            r#"{{"issuer":{issuer},"token_endpoint":{endpoint},"scopes_supported":{aliases},
            "mtls_endpoint_aliases":{{"token_endpoint":{alias}}}}}"#
        );
        if let Ok(metadata) = fetch(ISSUER, body.into_bytes()) {
            prop_assert_eq!(metadata.issuer(), ISSUER);
            let aliased = metadata.mtls_token_endpoint();
            for endpoint in [metadata.token_endpoint()].into_iter().chain(aliased) {
                prop_assert_eq!(endpoint.scheme_str(), Some("https"));
                prop_assert!(!endpoint.authority().unwrap().as_str().contains('@'));
            }
        }
    }
}
