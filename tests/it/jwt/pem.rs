use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use serde_json::Value;
use tower_oauth2::jwt::{Algorithm, Signer, SigningKey};

use super::{decode, vectors};

const RSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const PSS_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const EC_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P521_OID: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const K256_OID: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x0a];

/// Encodes one value in DER.
fn der(tag: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let len = match content.len() {
        len @ 0..=0x7f => vec![len as u8],
        len @ 0x80..=0xff => vec![0x81, len as u8],
        len => [&[0x82][..], &(len as u16).to_be_bytes()].concat(),
    };
    [&[tag][..], &len, content].concat()
}

fn sequence(items: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, items.concat())
}

fn part(jwk: &str, name: &str) -> Vec<u8> {
    let jwk: Value = serde_json::from_str(jwk).unwrap();
    decode(jwk[name].as_str().unwrap())
}

fn pkcs1() -> Vec<u8> {
    let integer = |name| {
        let mut bytes = part(vectors::RSA, name);
        if bytes[0] >= 0x80 {
            bytes.insert(0, 0);
        }
        der(0x02, bytes)
    };
    let parts = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(integer);
    sequence(&[vec![der(0x02, [0])], parts.to_vec()].concat())
}

fn pkcs8(kind: &[Vec<u8>], private: &[u8]) -> Vec<u8> {
    sequence(&[der(0x02, [0]), sequence(kind), der(0x04, private)])
}

fn public_point() -> Vec<u8> {
    [vec![0, 4], part(vectors::P256, "x"), part(vectors::P256, "y")].concat()
}

fn sec1(curve: Option<&[u8]>, public: Option<&[u8]>) -> Vec<u8> {
    let mut parts = vec![der(0x02, [1]), der(0x04, part(vectors::P256, "d"))];
    parts.extend(curve.map(|curve| der(0xa0, der(0x06, curve))));
    parts.extend(public.map(|public| der(0xa1, der(0x03, public))));
    sequence(&parts)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Asserts that the keys in `pem` and in `jwk` are the same.
#[track_caller]
fn same(pem: &str, jwk: &str) {
    let key = SigningKey::from_pem(pem).unwrap();
    assert_eq!(key.thumbprint(), SigningKey::from_jwk(jwk).unwrap().thumbprint());
}

#[track_caller]
fn refused(pem: &str, why: &str) {
    let error = SigningKey::from_pem(pem).map(drop).unwrap_err();
    assert_eq!(error.to_string(), format!("signing key {why}"));
}

#[test]
fn every_type_of_private_key_is_read_from_pem() {
    let rsa = pkcs8(&[der(0x06, RSA_OID), der(0x05, [])], &pkcs1());
    same(&pem("PRIVATE KEY", &rsa), vectors::RSA);
    same(&pem("RSA PRIVATE KEY", &pkcs1()), vectors::RSA);

    let public = public_point();
    let curve = sec1(Some(P256_OID), Some(&public));
    same(&pem("EC PRIVATE KEY", &curve), vectors::P256);
    let kind = [der(0x06, EC_OID), der(0x06, P256_OID)];
    same(&pem("PRIVATE KEY", &pkcs8(&kind, &curve)), vectors::P256);
    same(&pem("PRIVATE KEY", &pkcs8(&kind, &sec1(None, Some(&public)))), vectors::P256);

    let ed25519 = pkcs8(&[der(0x06, [0x2b, 0x65, 0x70])], &ed25519_seed());
    same(&pem("PRIVATE KEY", &ed25519), vectors::ED25519);
}

fn ed25519_seed() -> Vec<u8> {
    der(0x04, part(vectors::ED25519, "d"))
}

#[test]
fn every_type_of_private_key_is_read_from_der() {
    let sec1 = sec1(Some(P256_OID), Some(&public_point()));
    for (der, jwk) in [
        (pkcs1(), vectors::RSA),
        (pkcs8(&[der(0x06, RSA_OID), der(0x05, [])], &pkcs1()), vectors::RSA),
        (pkcs8(&[der(0x06, EC_OID), der(0x06, P256_OID)], &sec1), vectors::P256),
        (sec1, vectors::P256),
        (pkcs8(&[der(0x06, [0x2b, 0x65, 0x70])], &ed25519_seed()), vectors::ED25519),
    ] {
        let key = SigningKey::from_der(der).unwrap();
        assert_eq!(key.thumbprint(), SigningKey::from_jwk(jwk).unwrap().thumbprint());
    }
    for (der, why) in [
        (vec![], "is empty"),
        (b"-----BEGIN PRIVATE KEY-----".to_vec(), "is damaged, or in an unsupported format"),
        (self::sec1(None, Some(&public_point())), "does not say which curve it is on"),
        (KeyPair::generate().unwrap().subject_public_key_info(), "is a public key"),
    ] {
        let error = SigningKey::from_der(der).map(drop).unwrap_err();
        assert_eq!(error.to_string(), format!("signing key {why}"));
    }
}

#[test]
fn the_output_of_other_tools_is_read() {
    for (kind, algorithm) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384),
        (&rcgen::PKCS_ED25519, Algorithm::EdDSA),
    ] {
        let pair = KeyPair::generate_for(kind).unwrap();
        let pem = pair.serialize_pem();
        assert_eq!(SigningKey::from_pem(&pem).unwrap().algorithm(), algorithm);
        assert_eq!(SigningKey::from_pem(pem.replace('\n', "\r\n")).unwrap().algorithm(), algorithm);
        let key = SigningKey::from_der(pair.serialize_der()).unwrap();
        assert_eq!(key.algorithm(), algorithm);
    }
}

#[test]
fn certificates_and_parameters_in_a_pem_text_are_ignored() {
    let pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap().pem();
    let parameters = pem("EC PARAMETERS", &der(0x06, P256_OID));
    let all = format!("Some words.\n{parameters}{}{certificate}", pair.serialize_pem());
    let key = SigningKey::from_pem(&all).unwrap();
    assert_eq!(key.thumbprint(), SigningKey::from_der(pair.serialize_der()).unwrap().thumbprint());
}

#[test]
fn the_error_describes_a_text_without_a_private_key() {
    let pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap();
    refused("", "is empty");
    refused(" \r\n", "is empty");
    refused("s3cr3t", "is not PEM: it has no BEGIN line");
    refused(&certificate.pem(), "is a certificate");
    refused(&pair.public_key_pem(), "is a public key");
    refused(&pem("RSA PUBLIC KEY", &[1]), "is a public key");
    refused(&pem("OPENSSH PRIVATE KEY", &[1]), "is in the OpenSSH format: convert it to PKCS#8");
    refused(&pem("DSA PRIVATE KEY", &[1]), "is a DSA key, which is not supported");
    refused(&pem("SOMETHING ELSE", &[1]), "is not a private key");
    refused(
        &format!("{}{}", pair.serialize_pem(), KeyPair::generate().unwrap().serialize_pem()),
        "is one of several in the PEM text",
    );

    // The label is wrong.
    refused(&pem("PRIVATE KEY", certificate.der()), "is not a private key");
    refused(&pem("PRIVATE KEY", &pkcs1()), "is damaged, or in an unsupported format");
}

#[test]
fn the_error_names_an_encrypted_key() {
    let encrypted = "is encrypted: decrypt it first";
    let pkcs8 = sequence(&[sequence(&[der(0x06, RSA_OID)]), der(0x04, [1, 2, 3])]);
    refused(&pem("ENCRYPTED PRIVATE KEY", &pkcs8), encrypted);
    refused(&pem("PRIVATE KEY", &pkcs8), encrypted);
    refused(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n\
         AAAA\n-----END RSA PRIVATE KEY-----\n",
        encrypted,
    );
}

#[test]
fn the_error_names_an_unsupported_key() {
    let ec = |curve: &[u8]| {
        pem("PRIVATE KEY", &pkcs8(&[der(0x06, EC_OID), der(0x06, curve)], &sec1(None, None)))
    };
    let curve = if cfg!(feature = "aws-lc-rs") {
        "must be on P-256, P-384 or P-521"
    } else {
        let curve = "must be on P-256 or P-384, or on P-521 with the feature `aws-lc-rs`";
        refused(&ec(P521_OID), &format!("{curve}: P-521"));
        refused(&pem("EC PRIVATE KEY", &sec1(Some(P521_OID), None)), &format!("{curve}: P-521"));
        curve
    };
    refused(&ec(K256_OID), curve);
    refused(&pem("EC PRIVATE KEY", &sec1(Some(K256_OID), Some(&public_point()))), curve);
    refused(&pem("EC PRIVATE KEY", &sec1(None, None)), "does not say which curve it is on");
    refused(&ec(P256_OID), "has no public part: export it with its public part");
    let other = pkcs8(&[der(0x06, [0x2b, 0x65, 0x71])], &[1]);
    refused(&pem("PRIVATE KEY", &other), "is neither EC, RSA nor Ed25519");
    refused(
        &pem("PRIVATE KEY", &pkcs8(&[der(0x06, PSS_OID)], &pkcs1())),
        "is an RSASSA-PSS key: convert it to a plain RSA key",
    );
}

#[test]
fn small_rsa_keys_are_refused() {
    // The size is checked before the numbers.
    let number = |len: usize| der(0x02, [&[0][..], &vec![0xff; len]].concat());
    let small = [number(128), der(0x02, [1, 0, 1]), number(128)];
    let rest = [number(64), number(64), number(64), number(64), number(64)];
    let key = sequence(&[&[der(0x02, [0])][..], &small, &rest].concat());
    refused(&pem("RSA PRIVATE KEY", &key), "is an RSA key of less than 2048 bits");
}

// Another program may be writing the file.
#[test]
fn a_truncated_key_is_an_error() {
    let whole = KeyPair::generate().unwrap().serialize_pem();
    let whole = whole.trim_end();
    assert!(SigningKey::from_pem(whole).is_ok());
    for end in 0..whole.len() - 5 {
        assert!(SigningKey::from_pem(&whole[..end]).is_err(), "{end}");
    }
    refused(&whole[..whole.len() - 20], "is truncated");

    // Truncated within the DER content.
    let der = pkcs8(&[der(0x06, EC_OID), der(0x06, P256_OID)], &sec1(None, Some(&public_point())));
    assert!(SigningKey::from_der(&der).is_ok());
    for end in 0..der.len() {
        assert!(SigningKey::from_der(&der[..end]).is_err(), "{end}");
    }
    let rsa = pkcs8(&[self::der(0x06, RSA_OID), self::der(0x05, [])], &pkcs1());
    for end in (0..rsa.len()).step_by(7) {
        assert!(SigningKey::from_der(&rsa[..end]).is_err(), "{end}");
    }
}

#[test]
fn no_error_quotes_the_key() {
    let whole = KeyPair::generate().unwrap().serialize_pem();
    let secret: String = whole.lines().nth(1).unwrap().to_owned();
    for damage in [&secret[..8], "-----END", "M"] {
        let damaged = whole.replacen(damage, "s3cr3t !", 1);
        let Err(error) = SigningKey::from_pem(&damaged) else { continue };
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("s3cr3t") && !text.contains(&secret[8..16]), "{text}");
        }
    }
}

/// Asserts that the damaged text `lost` yields the same key as the original.
#[track_caller]
fn read_anyway(lost: &str, whole: &str) {
    let thumbprint = |pem| SigningKey::from_pem(pem).map(|key| key.thumbprint());
    assert_eq!(thumbprint(lost), Ok(thumbprint(whole).unwrap()), "{lost:?}");
}

#[test]
fn a_pem_that_lost_its_line_breaks_is_read() {
    let rsa = pem("RSA PRIVATE KEY", &pkcs1());
    for whole in [KeyPair::generate().unwrap().serialize_pem(), rsa] {
        let indented: String = whole.lines().map(|line| format!("  {line}\n")).collect();
        read_anyway(&indented, &whole);
        for instead in [" ", "", "\t", r"\n", r"\r\n", r"\\n", "\\n\n", "\r\n", "\r", " \n\n "] {
            let lost = whole.replace('\n', instead);
            read_anyway(&lost, &whole);
            read_anyway(lost.trim(), &whole);
            read_anyway(&format!("\"{lost}\""), &whole);
            read_anyway(&lost.replace(' ', ""), &whole);
        }
    }
}

#[test]
fn the_error_names_the_damage_of_a_pem() {
    let whole = KeyPair::generate().unwrap().serialize_pem();
    refused(
        &whole.replace('\n', "n"),
        "is not valid PEM: it has the letter n at the place of each line break",
    );
    let base64 = BASE64_STANDARD.encode(&whole);
    refused(&base64, "is the base64 of a PEM text: decode it first");
    let utf16: String = whole.chars().flat_map(|c| [c, '\0']).collect();
    refused(&utf16, "is not PEM: it may be UTF-16");
    let body: String = whole.lines().filter(|line| !line.starts_with('-')).collect();
    refused(&body, "is not PEM: it has no BEGIN line");
    let damaged = "is not valid PEM: its base64 is damaged";
    refused(&whole.replacen("MI", "M", 1), damaged);
    refused(&whole.replacen("MI", "M%I", 1), damaged);
    refused(&whole.replacen("MI", r"M\I", 1), "is not valid PEM");
    refused(
        &whole.replace("END PRIVATE", "END RSA PRIVATE"),
        "is not valid PEM: the labels of BEGIN and END differ",
    );
    refused(&format!("-----BEGIN PRIVATE KEY-----\n{whole}"), "is truncated");
}
