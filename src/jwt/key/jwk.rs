//! Reads and writes JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037).

use std::collections::BTreeMap;

use crate::crypto::rsa::{KeyPairComponents, PublicKeyComponents};
use crate::crypto::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::curve::{self, Curve};
use super::{KEY, Pair, invalid};
use crate::error::ConfigError;
use crate::jwt::{Algorithm, encode};

pub(super) struct Jwk {
    pub(super) pair: Pair,
    pub(super) kid: Option<String>,
    pub(super) algorithm: Option<Algorithm>,
}

pub(super) fn read(json: &str) -> Result<Jwk, ConfigError> {
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    if json.trim_ascii().is_empty() {
        return invalid("is empty");
    }
    // The parser's own errors may quote the text, so they are dropped.
    let Ok(members) = serde_json::from_str::<Map<String, Value>>(json) else {
        return invalid("is not a JSON object");
    };
    if members.contains_key("keys") {
        return invalid("is a set of keys: name one of them");
    }
    let signs = members.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|all| all.iter().any(|operation| operation == "sign"))
    });
    let has_more_primes = members.contains_key("oth");
    let members = Members::new(members);
    if members.text("use").is_some_and(|usage| usage != "sig") || !signs {
        return invalid("is not for signing: its `use` or `key_ops` says so");
    }
    let algorithm = match members.text("alg") {
        None => None,
        Some(name) => match name.parse() {
            Ok(algorithm) => Some(algorithm),
            Err(_) => {
                let problem = "has an `alg` that is not ES256, ES384, ES512, RS256, RS384, RS512, \
                               PS256, PS384, PS512 or EdDSA";
                return Err(ConfigError::new(KEY, problem).with_value(name));
            }
        },
    };
    let kind = members.text("kty");
    let other_kind = || {
        let error = ConfigError::new(KEY, "has a `kty` that is not EC, RSA or OKP");
        Err(kind.map_or(error.clone(), |kind| error.with_value(kind)))
    };
    let other_curve = |curve: Option<&str>, problem| {
        Err(ConfigError::new(KEY, problem).with_value(curve.unwrap_or_default()))
    };
    if kind != Some("oct") && members.text("d").is_none() {
        return match kind {
            Some("EC" | "RSA" | "OKP") => invalid("is a public key: the private part is missing"),
            _ => other_kind(),
        };
    }
    let pair = match (kind, members.text("crv")) {
        (Some("EC"), name) => match name.and_then(Curve::from_name) {
            Some(curve) => {
                curve.signing()?;
                let (private, public) =
                    (members.bytes("d", curve.len())?, members.point(curve.len())?);
                Pair::ec(curve, &private, &public)?
            }
            None => return other_curve(name, curve::MUST_BE_SUPPORTED),
        },
        (Some("OKP"), Some("Ed25519")) => {
            let (private, public) = (members.bytes("d", 32)?, members.bytes("x", 32)?);
            Pair::ed25519(Ed25519KeyPair::from_seed_and_public_key(&private, &public))?
        }
        (Some("OKP"), curve) => return other_curve(curve, "must be on Ed25519"),
        (Some("RSA"), _) if has_more_primes => {
            return invalid("is an RSA key with more than two primes");
        }
        (Some("RSA"), _) => members.rsa()?,
        (Some("oct"), _) => return invalid("is a shared secret: use client_secret_jwt"),
        _ => return other_kind(),
    };
    let kid = members.text("kid").filter(|kid| !kid.is_empty()).map(str::to_owned);
    Ok(Jwk { pair, kid, algorithm })
}

/// The members of a JWK that are strings.
struct Members(BTreeMap<String, Zeroizing<String>>);

impl Members {
    fn new(members: Map<String, Value>) -> Self {
        let texts = members.into_iter().filter_map(|(name, value)| match value {
            Value::String(text) => Some((name, Zeroizing::new(text))),
            _ => None,
        });
        Self(texts.collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.as_str())
    }

    fn decoded(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let text = self
            .text(name)
            .ok_or_else(|| ConfigError::new(KEY, "lacks a member").with_value(name))?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
        BASE64_URL_SAFE_NO_PAD.decode_vec(text, &mut bytes).map_err(|_| {
            ConfigError::new(KEY, "has a member that is not base64url").with_value(name)
        })?;
        Ok(bytes)
    }

    fn bytes(&self, name: &str, len: usize) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let bytes = self.decoded(name)?;
        if bytes.len() == len {
            Ok(bytes)
        } else {
            Err(ConfigError::new(KEY, "has a member of the wrong length").with_value(name))
        }
    }

    /// Returns the uncompressed public key of an elliptic curve (SEC 1 section 2.3.3).
    fn point(&self, len: usize) -> Result<Vec<u8>, ConfigError> {
        Ok([&[4][..], &self.bytes("x", len)?, &self.bytes("y", len)?].concat())
    }

    fn rsa(&self) -> Result<Pair, ConfigError> {
        // `ring` accepts no leading zeros.
        let part = |name| {
            let mut bytes = self.decoded(name)?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            bytes.drain(..zeros);
            Ok::<_, ConfigError>(bytes)
        };
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: part("n")?, e: part("e")? },
            d: part("d")?,
            p: part("p")?,
            q: part("q")?,
            dP: part("dp")?,
            dQ: part("dq")?,
            qInv: part("qi")?,
        };
        let components = KeyPairComponents {
            public_key: PublicKeyComponents {
                n: components.public_key.n.as_slice(),
                e: components.public_key.e.as_slice(),
            },
            d: components.d.as_slice(),
            p: components.p.as_slice(),
            q: components.q.as_slice(),
            dP: components.dP.as_slice(),
            dQ: components.dQ.as_slice(),
            qInv: components.qInv.as_slice(),
        };
        Pair::check_modulus(components.public_key.n)?;
        Pair::rsa(RsaKeyPair::from_components(&components))
    }
}

impl Pair {
    /// Returns the members in the order of RFC 7638 section 3.3.
    ///
    /// The order is kept even if JSON maps keep the order of insertion.
    pub(super) fn public_jwk(&self) -> Value {
        let public = self.public();
        let on_curve = |curve: &str| {
            // The first byte says that the point is uncompressed.
            let (x, y) = public[1..].split_at(public.len() / 2);
            json!({ "crv": curve, "kty": "EC", "x": encode(x), "y": encode(y) })
        };
        match self {
            Self::Ec(curve, _) => on_curve(curve.name()),
            Self::Ed25519(_) => json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(public) }),
            Self::Rsa(pair) => {
                let PublicKeyComponents { n, e } =
                    PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "e": encode(e), "kty": "RSA", "n": encode(n) })
            }
        }
    }
}
