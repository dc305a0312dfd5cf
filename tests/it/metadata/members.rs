use super::*;

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.collect()
}

#[tokio::test]
async fn members_of_the_metadata_can_be_read() {
    let metadata = metadata(json!({
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "tls_client_auth"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "none"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["read", "write"],
        "dpop_signing_alg_values_supported": ["EdDSA"],
        "introspection_endpoint": "https://auth.test/introspect",
        "revocation_endpoint": "https://elsewhere.test/revoke?x=1",
        "mtls_endpoint_aliases": { "token_endpoint": "https://mtls.auth.test/token" },
        "jwks_uri": "https://auth.test/jwks",
    }))
    .await;
    assert_eq!(metadata.issuer(), ISSUER);
    assert_eq!(metadata.token_endpoint(), ENDPOINT);
    assert_eq!(metadata.mtls_token_endpoint().unwrap(), "https://mtls.auth.test/token");
    assert_eq!(metadata.introspection_endpoint().unwrap(), "https://auth.test/introspect");
    assert_eq!(metadata.revocation_endpoint().unwrap(), "https://elsewhere.test/revoke?x=1");
    assert_eq!(
        listed(metadata.token_endpoint_auth_methods_supported()),
        ["private_key_jwt", "tls_client_auth"]
    );
    assert_eq!(
        listed(metadata.token_endpoint_auth_signing_alg_values_supported()),
        ["ES256", "none"]
    );
    assert_eq!(listed(metadata.grant_types_supported()), ["client_credentials"]);
    assert_eq!(listed(metadata.scopes_supported()), ["read", "write"]);
    assert_eq!(listed(metadata.dpop_signing_alg_values_supported()), ["EdDSA"]);
    assert_eq!(metadata.get("jwks_uri").unwrap(), "https://auth.test/jwks");
    assert_eq!(metadata.get("issuer").unwrap(), ISSUER);
    assert_eq!(metadata.get("userinfo_endpoint"), None);
}

fn assert_absent(metadata: &Metadata, name: &str) {
    assert_eq!(
        listed(metadata.token_endpoint_auth_methods_supported()),
        ["client_secret_basic"],
        "{name}"
    );
    assert_eq!(listed(metadata.grant_types_supported()), ["authorization_code", "implicit"]);
    for list in [
        listed(metadata.token_endpoint_auth_signing_alg_values_supported()),
        listed(metadata.scopes_supported()),
        listed(metadata.dpop_signing_alg_values_supported()),
    ] {
        assert!(list.is_empty(), "{name}");
    }
    assert_eq!(metadata.introspection_endpoint(), None, "{name}");
    assert_eq!(metadata.revocation_endpoint(), None, "{name}");
    assert_eq!(metadata.mtls_token_endpoint(), None, "{name}");
}

const OPTIONAL: [&str; 8] = [
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "grant_types_supported",
    "scopes_supported",
    "dpop_signing_alg_values_supported",
    "introspection_endpoint",
    "revocation_endpoint",
    "mtls_endpoint_aliases",
];

// RFC 8414 section 2
#[tokio::test]
async fn absent_members_have_the_defaults_of_the_rfc() {
    assert_absent(&metadata(json!({})).await, "nothing");
    let odd_values = [
        "null".to_owned(),
        "7".to_owned(),
        "1e400".to_owned(),
        "true".to_owned(),
        "\"client_secret_post\"".to_owned(),
        "\"\\ud800\"".to_owned(),
        "[]".to_owned(),
        "[7, null, {}]".to_owned(),
        "{}".to_owned(),
        r#"{"token_endpoint":7}"#.to_owned(),
        r#"{"token_endpoint":["https://auth.test"]}"#.to_owned(),
        format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        format!("{}0{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000)),
    ];
    for odd in odd_values {
        let mut body = document().to_string();
        body.pop();
        for name in OPTIONAL {
            body.push_str(&format!(r#","{name}":{odd}"#));
        }
        body.push('}');
        let metadata = Metadata::fetch(ISSUER, always(200, body)).await.unwrap();
        assert_absent(&metadata, &odd[..odd.len().min(40)]);
    }
}

#[tokio::test]
async fn other_endpoints_that_are_not_allowed_are_absent() {
    for endpoint in ["http://auth.test", "/revoke", "https://u@auth.test", "http://localhost"] {
        let metadata = metadata(json!({
            "introspection_endpoint": endpoint,
            "revocation_endpoint": endpoint,
        }))
        .await;
        assert_absent(&metadata, endpoint);
        assert_eq!(metadata.get("revocation_endpoint").unwrap(), endpoint);
    }
}

#[tokio::test]
async fn debug_is_short() {
    let metadata = metadata(json!({
        "token_endpoint": format!("{ENDPOINT}?{TEXT}"),
        "more": TEXT,
    }))
    .await;
    assert_eq!(
        format!("{metadata:?}"),
        r#"Metadata { issuer: "https://auth.test", token_endpoint: Some(https://auth.test), .. }"#
    );
}
