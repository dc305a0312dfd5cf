//! Credentials: what makes them equal, and what a token request for them contains.

use http::Response;
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::grant::Grant;
use tower_oauth2::{
    BoxError, ClientAuth, Credentials, Secret, TokenEndpoint, TokenErrorKind, TokenRequest,
};

use crate::support::{Api, SECRET, credentials};

const ENDPOINT: &str = "https://auth.test/token";

/// A method with parts that a test chooses.
struct Parts(&'static [&'static str]);

impl ClientAuthentication for Parts {
    fn method(&self) -> &str {
        "parts"
    }

    fn identify(&self, identity: &mut Identity) {
        for part in self.0 {
            identity.part(part);
        }
    }

    async fn authenticate(&self, _: &mut TokenRequestParts) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A method that adds a part to another one.
struct Outer(ClientAuth, &'static str);

impl ClientAuthentication for Outer {
    fn method(&self) -> &str {
        "outer"
    }

    fn identify(&self, identity: &mut Identity) {
        identity.client_auth(&self.0).part(self.1);
    }

    async fn authenticate(&self, _: &mut TokenRequestParts) -> Result<(), BoxError> {
        Ok(())
    }
}

#[track_caller]
fn all_differ(all: &[Credentials]) {
    for (n, one) in all.iter().enumerate() {
        for (m, other) in all.iter().enumerate() {
            assert_eq!(one == other, n == m, "{n} and {m}");
        }
    }
}

fn with(auth: ClientAuth) -> Credentials {
    Credentials::new(ENDPOINT, auth).unwrap()
}

// S2
#[test]
fn different_splits_of_an_identity_differ() {
    let splits: [&[&str]; 5] = [&["abc"], &["ab", "c"], &["a", "bc"], &["abc", ""], &["", "abc"]];
    let own = splits.map(|parts| with(ClientAuth::custom(Parts(parts))));
    let nested =
        [(&["a", "b"][..], "c"), (&["a"], "bc"), (&["a", "b", "c"], "")].map(|(parts, part)| {
            with(ClientAuth::custom(Outer(ClientAuth::custom(Parts(parts)), part)))
        });
    all_differ(&[&own[..], &nested[..]].concat());
}

// S2
#[test]
fn everything_that_distinguishes_a_token_is_compared() {
    let base = || with(ClientAuth::none("id"));
    all_differ(&[
        base(),
        with(ClientAuth::anonymous()),
        Credentials::named(ENDPOINT),
        Credentials::named("other"),
        Credentials::from_issuer(ENDPOINT, ClientAuth::none("id")).unwrap(),
        base().audience("a"),
        base().audience("a").audience("b"),
        base().audience("a b"),
        base().resource("a"),
        base().grant(Grant::custom("a")),
        base().grant(Grant::custom("b")),
        base().grant(Grant::custom("client_credentials")),
    ]);
    assert_eq!(base().audience("a").audience("b"), base().audience("b").audience("a").audience(""));
    assert_eq!(base().grant(Grant::custom("a")).grant(Grant::client_credentials()), base());
}

#[test]
fn a_label_is_not_compared() {
    let labeled = credentials().label("orders");
    assert_eq!(labeled, credentials());
    assert_eq!(labeled.label_or_client_id(), "orders");
    assert_eq!(labeled.scope("read").label_or_client_id(), "orders");
    assert_eq!(with(ClientAuth::none("id")).label_or_client_id(), "id");
    assert_eq!(with(ClientAuth::anonymous()).label_or_client_id(), "anonymous");
    assert_eq!(Credentials::named("app").label_or_client_id(), "app");
    assert_eq!(Credentials::named("app").label("GitHub").label_or_client_id(), "GitHub");
}

/// Returns the body of the token request for these credentials.
async fn body(credentials: Credentials) -> String {
    let api = Api::new(|_| Response::new(Full::from(r#"{"access_token":"t"}"#)));
    let request = TokenRequest::new(credentials);
    TokenEndpoint::new(api.clone()).oneshot(request).await.unwrap();
    let request = api.requests().remove(0);
    assert!(!request.headers().contains_key("authorization"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

// W1
#[tokio::test]
async fn audiences_repeat_and_an_empty_one_is_left_out() {
    let base = with(ClientAuth::anonymous());
    assert_eq!(
        body(base.clone().audience("a").audience("").audience("b").audience("a")).await,
        "grant_type=client_credentials&audience=a&audience=b"
    );
    assert_eq!(
        body(base.audience("a").audience("b").parameter("audience", "c")).await,
        "grant_type=client_credentials&audience=c"
    );
}

// W2
#[tokio::test]
async fn an_anonymous_client_sends_nothing_about_itself() {
    let credentials = with(ClientAuth::anonymous());
    assert_eq!(credentials.client_id(), None);
    assert_eq!(body(credentials).await, "grant_type=client_credentials");
}

#[tokio::test]
async fn a_custom_grant_has_the_parameters_of_the_credentials() {
    let grant = Grant::custom("account_credentials");
    let credentials = with(ClientAuth::none("id")).grant(grant).parameter("account_id", "17");
    assert_eq!(
        body(credentials).await,
        "grant_type=account_credentials&account_id=17&client_id=id"
    );
    let credentials = with(ClientAuth::none("id")).grant(Grant::custom(""));
    assert_eq!(body(credentials).await, "client_id=id");
}

#[tokio::test]
async fn named_credentials_have_no_token_endpoint() {
    let credentials = Credentials::named("app\n17");
    assert_eq!((credentials.token_endpoint(), credentials.issuer()), (None, None));
    assert_eq!(
        format!("{credentials:?}"),
        r#"Credentials { name: "app\n17", auth: ClientAuth(anonymous), .. }"#
    );
    let api = Api::always(200);
    let request = TokenRequest::new(credentials);
    let error = TokenEndpoint::new(api.clone()).oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::NoTokenEndpoint);
    assert!(!error.is_transient());
    assert_eq!(api.count(), 0);
    assert_eq!(
        error.to_string(),
        "no token from app\\n17: the credentials have no token endpoint; \
         check the credentials: named ones need a custom source"
    );
}

// W9: cargo sets the variable for tests.
#[tokio::test]
async fn a_secret_from_the_environment_is_its_text() {
    let secret = Secret::env("CARGO_PKG_NAME").unwrap();
    assert_eq!(format!("{secret:?}"), "Secret(**redacted**)");
    let from_environment = with(ClientAuth::client_secret_post("id", secret));
    assert_eq!(from_environment, with(ClientAuth::client_secret_post("id", "tower-oauth2")));
    assert!(body(from_environment).await.ends_with("&client_secret=tower-oauth2"));
    let error = Secret::env("TOWER_OAUTH2_NO_SUCH_VARIABLE").unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable of a secret is not set: TOWER_OAUTH2_NO_SUCH_VARIABLE"
    );
}

// X3
#[test]
fn debug_shows_the_label_and_no_secret() {
    let auth = ClientAuth::client_secret_basic("client-id", SECRET);
    let credentials = with(auth).label("orders").scope("read");
    assert_eq!(
        format!("{credentials:?}"),
        r#"Credentials { token_endpoint: https://auth.test, label: "orders", auth: ClientAuth(client_secret_basic), .. }"#
    );
}
