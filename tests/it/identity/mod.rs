//! S2: credentials that differ in any setting never share a token.

mod public;
mod values;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tower::{Layer, ServiceExt};
use tower_oauth2::grant::JwtBearer;
use tower_oauth2::jwt::KeyFile;
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenCache, TokenRequest};

use self::public::public_settings;
use self::values::{AUTHS, JWT_SETTERS, SETTERS, Setter, each_setting, servers};
use crate::support::{ScriptedSource, get_for, hour, property, secs};

const ENDPOINT: &str = "https://auth.test/token";

/// Settings that are no part of the identity.
const NOT_COMPARED: [&str; 2] = ["Credentials::label", "Credentials::default_expires_in"];

/// Constructors of a key, which is compared by its public part.
const KEYS: [&str; 3] = ["SigningKey::from_pem", "SigningKey::from_der", "SigningKey::from_jwk"];

// S2
#[test]
fn each_public_setting_is_among_those_that_are_compared() {
    let mut public = BTreeSet::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for folder in ["client_auth", "credentials", "jwt"] {
        public_settings(&source.join(folder), &mut public);
    }
    assert!(public.len() > 50, "the settings were not found: {public:?}");
    let tried = each_setting().into_iter().map(|(name, _)| name);
    // The constructors of a grant are tried as its values, and so is the one without settings.
    let tried = tried.chain(["Credentials::grant", "Grant::client_credentials"]);
    let tried = tried.chain(NOT_COMPARED).chain(KEYS).map(str::to_owned).collect::<BTreeSet<_>>();
    let forgotten: Vec<_> = public.difference(&tried).collect();
    assert!(forgotten.is_empty(), "add these to the lists of this file: {forgotten:?}");
    let gone: Vec<_> = tried.difference(&public).collect();
    assert!(gone.is_empty(), "remove these from the lists of this file: {gone:?}");
}

// S2
#[test]
fn each_value_of_each_setting_makes_other_credentials() {
    let (one, other) = (each_setting(), each_setting());
    for (n, (name, one)) in one.iter().enumerate() {
        for (m, (other_name, other)) in other.iter().enumerate() {
            assert_eq!(one == other, n == m, "{n} {name} and {m} {other_name}");
        }
    }
}

// S2
#[tokio::test]
async fn different_credentials_share_no_token_in_a_cache_or_store() {
    let is_bound = Arc::new(AtomicBool::new(false));
    let source = || {
        let is_bound = is_bound.clone();
        ScriptedSource::tokens(move |n| match is_bound.load(Ordering::Relaxed) {
            true => AccessToken::dpop(format!("token-{n}")).unwrap().with_expires_in(secs(3600)),
            false => hour(n),
        })
    };
    let stored = TokenStoreLayer::new(MemoryStore::new()).layer(source());
    let cache = TokenCache::new(source());
    let mut tokens: [BTreeSet<String>; 2] = Default::default();
    for (name, credentials) in &each_setting() {
        is_bound.store(*name == "Credentials::dpop", Ordering::Relaxed);
        let request = TokenRequest::new(credentials.clone());
        let token = stored.clone().oneshot(request.clone()).await.unwrap();
        assert_eq!(stored.clone().oneshot(request).await.unwrap().secret(), token.secret());
        assert!(tokens[0].insert(token.secret().to_owned()), "{name} in a store");
        let token = get_for(&cache, credentials).await.unwrap();
        assert!(tokens[1].insert(token.secret().to_owned()), "{name} in a cache");
    }
}

/// The choice of a value for each setter. `None` does not call the setter.
type Choices = Vec<Option<prop::sample::Index>>;

fn choices(setters: usize) -> impl Strategy<Value = Choices> {
    vec(option::of(any::<prop::sample::Index>()), setters)
}

/// Returns the numbers of the chosen values.
fn numbers<T>(setters: &[Setter<T>], choices: &Choices) -> Vec<Option<usize>> {
    let all = setters.iter().zip(choices);
    all.map(|(setter, choice)| Some(choice.as_ref()?.index(setter.values.len()))).collect()
}

fn apply<T>(setters: &[Setter<T>], numbers: &[Option<usize>], mut value: T) -> T {
    for (setter, number) in setters.iter().zip(numbers) {
        if let Some(number) = number {
            value = setter.values[*number](value);
        }
    }
    value
}

/// Where the credentials are used, and as which client.
type Base = (prop::sample::Index, prop::sample::Index);

fn bases() -> impl Strategy<Value = Base> {
    any::<Base>()
}

fn built((server, auth): &Base, numbers: &[Option<usize>]) -> (usize, usize, Credentials) {
    let servers = servers();
    let (server, auth) = (server.index(servers.len()), auth.index(AUTHS.len()));
    let credentials = servers[server].1(AUTHS[auth].1.clone());
    (server, auth, apply(&SETTERS, numbers, credentials))
}

proptest! {
    #![proptest_config(property(256))]

    // S2
    #[test]
    fn any_two_combinations_of_settings_differ(
        bases in (bases(), bases()),
        choices in (choices(SETTERS.len()), choices(SETTERS.len())),
        is_one_kept in any::<[bool; 3]>(),
    ) {
        // Combinations that differ in one place are the interesting ones.
        let other_base = match is_one_kept[0] {
            true => bases.0,
            false => (bases.0.0, bases.1.1),
        };
        let one = numbers(&SETTERS, &choices.0);
        let mut other = numbers(&SETTERS, &choices.1);
        if is_one_kept[1] {
            let changed = bases.1.0.index(one.len());
            let value = other[changed];
            other = one.clone();
            other[changed] = if is_one_kept[2] { one[changed] } else { value };
        }
        let built = [built(&bases.0, &one), built(&other_base, &other)];
        let is_same = built[0].0 == built[1].0 && built[0].1 == built[1].1 && one == other;
        prop_assert_eq!(built[0].2 == built[1].2, is_same, "{:?} {:?}", one, other);
    }

    // S2
    #[test]
    fn any_two_combinations_of_a_jwts_settings_differ(
        one in choices(JWT_SETTERS.len()),
        other in choices(JWT_SETTERS.len()),
        changed in option::of(any::<prop::sample::Index>()),
    ) {
        let one = numbers(&JWT_SETTERS, &one);
        let mut other = numbers(&JWT_SETTERS, &other);
        if let Some(changed) = changed {
            let changed = changed.index(one.len());
            let value = other[changed];
            other = one.clone();
            other[changed] = value;
        }
        let jwts = [&one, &other].map(|n| apply(&JWT_SETTERS, n, KeyFile::new("c").into()));
        let as_client = jwts.clone().map(|jwt| {
            Credentials::new(ENDPOINT, ClientAuth::private_key_jwt("i", jwt)).unwrap()
        });
        let as_grant = jwts.map(|jwt| {
            let credentials = Credentials::new(ENDPOINT, ClientAuth::anonymous()).unwrap();
            credentials.grant(JwtBearer::signed("i", jwt))
        });
        prop_assert_eq!(as_client[0] == as_client[1], one == other, "{:?} {:?}", one, other);
        prop_assert_eq!(as_grant[0] == as_grant[1], one == other, "{:?} {:?}", one, other);
    }
}
