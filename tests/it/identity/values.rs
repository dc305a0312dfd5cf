//! Values for each setting.

use std::sync::LazyLock;

use serde_json::json;
use tower_oauth2::client_auth::{ClientAssertion, ClientSecretJwt};
use tower_oauth2::grant::{Grant, JwtBearer, RefreshToken, TokenExchange, TokenType};
use tower_oauth2::jwt::{Algorithm, Audience, DpopKey, KeyFile, SignedJwt, SigningKey};
use tower_oauth2::{ClientAuth, Credentials, Secret};

use super::ENDPOINT;
use crate::jwt::vectors::RSA;
use crate::support::secs;

/// A value, and the public function that made it, such as `ClientAuth::none`.
pub type Named<T> = (&'static str, T);

/// One setter and the values that it is tried with.
pub struct Setter<T> {
    pub name: &'static str,
    pub values: Vec<Box<dyn Fn(T) -> T + Send + Sync>>,
}

/// Calls a constructor with each list of arguments, and names the results.
macro_rules! made {
    ($type:ident :: $function:ident: $(($($argument:expr),*)),+ $(,)?) => {
        vec![$((
            concat!(stringify!($type), "::", stringify!($function)),
            $type::$function($($argument),*),
        )),+]
    };
}

/// Returns a setter with lists of arguments, which must differ.
macro_rules! setter {
    ($type:ident :: $function:ident: $(($($argument:expr),*)),+ $(,)?) => {
        Setter {
            name: concat!(stringify!($type), "::", stringify!($function)),
            values: vec![$(Box::new(|value| $type::$function(value $(, $argument)*))),+],
        }
    };
}

static SIGNING_KEYS: LazyLock<[SigningKey; 2]> =
    LazyLock::new(|| [(); 2].map(|()| SigningKey::generate(Algorithm::ES256).unwrap()));

static CERTIFICATES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    ["a.test", "b.test"].map(|name| {
        let certificate = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        certificate.cert.der().to_vec()
    })
});

fn key(n: usize) -> SigningKey {
    SIGNING_KEYS[n].clone()
}

fn dpop(n: usize) -> DpopKey {
    DpopKey::new(key(n))
}

fn jwt_setters() -> Vec<Setter<SignedJwt>> {
    vec![
        setter!(SignedJwt::audience:
            (Audience::Issuer), (Audience::TokenEndpoint), ("issuer"), ("token endpoint")),
        setter!(SignedJwt::subject: ("a"), ("b"), ("")),
        setter!(SignedJwt::claim: ("a", "1"), ("a", "2"), ("a", 1), ("b", "1"), ("b", json!(null))),
        setter!(SignedJwt::not_before: ()),
        setter!(SignedJwt::typ: ("a"), ("b"), ("")),
        setter!(SignedJwt::lifetime: (secs(1)), (secs(2))),
        setter!(SignedJwt::certificate: (&CERTIFICATES[0]), (&CERTIFICATES[1])),
    ]
}

/// Returns one JWT for each key, and for each value of each setter.
fn jwts() -> Vec<Named<SignedJwt>> {
    let file = || KeyFile::new("a");
    let files = [
        made!(KeyFile::new: ("a"), ("b")),
        made!(KeyFile::algorithm: (file(), Algorithm::PS256), (file(), Algorithm::RS256)),
        made!(KeyFile::kid: (file(), "a"), (file(), "b")),
        made!(KeyFile::kid_from_thumbprint: (file())),
    ];
    let rsa = || SigningKey::from_jwk(RSA).unwrap();
    let with_algorithm = |algorithm| SigningKey::with_algorithm(rsa(), algorithm).unwrap();
    let keys = [
        vec![("SigningKey::generate", key(0)), ("SigningKey::generate", key(1))],
        made!(SigningKey::with_kid: (key(0), "a"), (key(0), "b")),
        [Algorithm::PS256, Algorithm::RS256]
            .map(|algorithm| ("SigningKey::with_algorithm", with_algorithm(algorithm)))
            .to_vec(),
    ];
    let files = files.into_iter().flatten().map(|(name, file)| (name, SignedJwt::from(file)));
    let keys = keys.into_iter().flatten().map(|(name, key)| (name, SignedJwt::new(key)));
    let base = || SignedJwt::new(KeyFile::new("c"));
    let set = jwt_setters()
        .into_iter()
        .flat_map(|setter| setter.values.into_iter().map(move |set| (setter.name, set(base()))));
    let base = [("SignedJwt::new", base())];
    files.chain(keys).chain(base).chain(set).collect()
}

fn auths() -> Vec<Named<ClientAuth>> {
    let from_fn = || Secret::from_fn("a", || async { Ok::<_, std::io::Error>("a") });
    let assertion = || ClientAssertion::new("a");
    let secret_jwt = || ClientSecretJwt::new("i", "a");
    let second = || secs(1);
    let assertions = [
        made!(ClientAssertion::new: ("a"), ("b"), (Secret::file("a")), (from_fn())),
        made!(ClientAssertion::client_id: (assertion(), "a"), (assertion(), "b")),
        made!(ClientAssertion::assertion_type: (assertion(), "a"), (assertion(), "b")),
    ];
    let secret_jwts = [
        made!(ClientSecretJwt::new: ("i", "c"), ("j", "c")),
        made!(ClientSecretJwt::audience:
            (secret_jwt(), "a"), (secret_jwt(), Audience::Issuer), (secret_jwt(), Audience::TokenEndpoint)),
        made!(ClientSecretJwt::lifetime: (secret_jwt(), second()), (secret_jwt(), second() * 2)),
    ];
    let assertions = assertions.into_iter().flatten();
    let secret_jwts = secret_jwts.into_iter().flatten();
    let jwts = jwts().into_iter();
    let all = [
        made!(ClientAuth::client_secret:
            ("i", "a"), ("i", "b"), ("j", "a"), ("i", Secret::file("a")), ("i", from_fn())),
        made!(ClientAuth::client_secret_basic: ("i", "a"), ("i", "b"), ("j", "a")),
        made!(ClientAuth::client_secret_basic_raw: ("i", "a"), ("i", "b"), ("j", "a")),
        made!(ClientAuth::client_secret_post: ("i", "a"), ("i", "b"), ("j", "a")),
        made!(ClientAuth::client_secret_jwt: ("i", "a"), ("i", "b"), ("j", "a")),
        made!(ClientAuth::client_assertion: ("i", "a"), ("i", "b"), ("j", "a")),
        made!(ClientAuth::none: ("i"), ("j")),
        made!(ClientAuth::anonymous: ()),
        made!(ClientAuth::tls_client_auth: ("i", "a"), ("i", "b"), ("j", "a")),
        made!(ClientAuth::self_signed_tls_client_auth: ("i", "a"), ("i", "b"), ("j", "a")),
        made!(ClientAuth::private_key_jwt: ("j", KeyFile::new("c"))),
        assertions.map(|(name, assertion)| (name, ClientAuth::custom(assertion))).collect(),
        secret_jwts.map(|(name, jwt)| (name, ClientAuth::custom(jwt))).collect(),
        jwts.map(|(name, jwt)| (name, ClientAuth::private_key_jwt("i", jwt))).collect(),
    ];
    let custom = [("ClientAuth::custom", ClientAuth::custom(ClientAuth::none("k")))];
    all.into_iter().flatten().chain(custom).collect()
}

pub fn grants() -> Vec<Named<Grant>> {
    let exchange = || TokenExchange::new("a", "b");
    let exchanges = [
        made!(TokenExchange::new: ("a", "b"), ("b", "a"), ("a", TokenType::JWT), (Secret::file("a"), "b")),
        made!(TokenExchange::actor: (exchange(), "c", "d"), (exchange(), "d", "c"), (exchange(), "c", "c")),
        made!(TokenExchange::requested_token_type: (exchange(), "c"), (exchange(), "d")),
    ];
    let users = [
        made!(RefreshToken::in_memory: ("a", "r"), ("b", "r")),
        made!(RefreshToken::new: ("c", "r", |_| async { Ok::<_, std::io::Error>(()) })),
    ];
    let signed = [
        made!(JwtBearer::assertion: ("a"), ("b"), (Secret::file("a"))),
        made!(JwtBearer::signed: ("j", KeyFile::new("c"))),
        jwts().into_iter().map(|(name, jwt)| (name, JwtBearer::signed("i", jwt))).collect(),
    ];
    let exchanges = exchanges.into_iter().flatten().map(|(name, grant)| (name, grant.into()));
    let users = users.into_iter().flatten().map(|(name, grant)| (name, grant.into()));
    let signed = signed.into_iter().flatten().map(|(name, grant)| (name, grant.into()));
    let custom = made!(Grant::custom:
        ("a"), ("b"), (""), ("client_credentials"), ("refresh_token"),
        ("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    custom.into_iter().chain(exchanges).chain(users).chain(signed).collect()
}

/// Returns the setters of credentials. Their names are those of the values where these have any.
fn setters() -> Vec<Setter<Credentials>> {
    let details = |details: serde_json::Value| {
        Box::new(move |credentials: Credentials| {
            Credentials::authorization_details(credentials, details.clone()).unwrap()
        }) as Box<dyn Fn(Credentials) -> Credentials + Send + Sync>
    };
    let grants = grants().into_iter().map(|(_, grant)| {
        Box::new(move |credentials| Credentials::grant(credentials, grant.clone()))
            as Box<dyn Fn(Credentials) -> Credentials + Send + Sync>
    });
    vec![
        Setter { name: "Credentials::grant", values: grants.collect() },
        setter!(Credentials::scope: ("a"), ("b"), ("a b"), ("ab")),
        setter!(Credentials::audience: ("a"), ("b"), ("a b")),
        setter!(Credentials::resource: ("a"), ("b"), ("a b")),
        Setter {
            name: "Credentials::authorization_details",
            values: vec![
                details(json!([{ "type": "a" }])),
                details(json!([{ "type": "b" }])),
                details(json!([{ "type": "a" }, { "type": "b" }])),
                details(json!([{ "type": "a", "actions": ["read"] }])),
                details(json!([{ "type": "a", "actions": "read" }])),
            ],
        },
        setter!(Credentials::parameter: ("a", "1"), ("a", "2"), ("1", "a"), ("b", "1")),
        setter!(Credentials::dpop: (dpop(0)), (dpop(1))),
    ]
}

/// Creates credentials for a server.
type Server = fn(ClientAuth) -> Credentials;

pub fn servers() -> Vec<Named<Server>> {
    vec![
        ("Credentials::new", |auth| Credentials::new(ENDPOINT, auth).unwrap()),
        ("Credentials::new", |auth| Credentials::new("https://auth.test/other", auth).unwrap()),
        ("Credentials::new", |auth| Credentials::new("https://auth.test:1/token", auth).unwrap()),
        ("Credentials::new", |auth| Credentials::new("https://auth.test/token?a", auth).unwrap()),
        ("Credentials::new", |auth| Credentials::new("https://b.test/token", auth).unwrap()),
        ("Credentials::from_issuer", |auth| Credentials::from_issuer(ENDPOINT, auth).unwrap()),
        ("Credentials::from_issuer", |auth| {
            Credentials::from_issuer("https://auth.test", auth).unwrap()
        }),
    ]
}

pub static AUTHS: LazyLock<Vec<Named<ClientAuth>>> = LazyLock::new(auths);
pub static SETTERS: LazyLock<Vec<Setter<Credentials>>> = LazyLock::new(setters);
pub static JWT_SETTERS: LazyLock<Vec<Setter<SignedJwt>>> = LazyLock::new(jwt_setters);

/// Returns credentials for each value of each setting, which differ in that setting only.
pub fn each_setting() -> Vec<Named<Credentials>> {
    let base = || Credentials::new(ENDPOINT, ClientAuth::none("base")).unwrap();
    let mut all: Vec<Named<Credentials>> = vec![("Credentials::named", Credentials::named("a"))];
    all.push(("Credentials::named", Credentials::named(ENDPOINT)));
    all.push(("Credentials::new", base()));
    let servers = servers().into_iter().skip(1);
    all.extend(servers.map(|(name, server)| (name, server(ClientAuth::none("base")))));
    all.extend(
        AUTHS.iter().map(|(name, auth)| (*name, Credentials::new(ENDPOINT, auth.clone()).unwrap())),
    );
    let grants = grants();
    for setter in SETTERS.iter() {
        for (n, set) in setter.values.iter().enumerate() {
            let is_grant = setter.name == "Credentials::grant";
            let name = if is_grant { grants[n].0 } else { setter.name };
            all.push((name, set(base())));
        }
    }
    all
}
