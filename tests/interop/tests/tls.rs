//! Certificates of servers and clients, and HTTP clients that use them.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

pub type TlsClient = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The subject that clients are registered with.
const CLIENT: &str = "client.example";

struct Certified {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// Certificates of one authority, and a self-signed one.
pub struct Certificates {
    authority: Certified,
    server: Certified,
    client: Certified,
    self_signed: Certified,
}

impl Certificates {
    pub fn get() -> &'static Self {
        static ALL: LazyLock<Certificates> = LazyLock::new(Certificates::new);
        &ALL
    }

    fn new() -> Self {
        let mut params = named("authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let issuer = Issuer::from_params(&params, &key);
        let signed = |params: CertificateParams| {
            let key = KeyPair::generate().unwrap();
            Certified { certificate: params.signed_by(&key, &issuer).unwrap(), key }
        };
        let server = signed(named("server", &["127.0.0.1"]));
        let client = signed(named("client", &[CLIENT]));
        let own = KeyPair::generate().unwrap();
        let self_signed = named("self-signed", &[]).self_signed(&own).unwrap();
        Self {
            server,
            client,
            self_signed: Certified { certificate: self_signed, key: own },
            authority: Certified { certificate, key },
        }
    }

    pub fn for_the_server(&self) -> Value {
        json!({
            "tls": {
                "key": self.server.key.serialize_pem(),
                "certificate": self.server.certificate.pem(),
                "authority": self.authority.certificate.pem(),
            },
            "certificates": {
                "authorized": self.client.certificate.pem(),
                "subject_dn": "CN=client",
                "san_dns": CLIENT,
                "self_signed": self.self_signed.certificate.pem(),
            },
        })
    }
}

fn named(common_name: &str, alternative_names: &[&str]) -> CertificateParams {
    let names: Vec<_> = alternative_names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// The certificate that a client presents.
#[derive(Clone, Copy)]
pub enum Shows {
    Nothing,
    Authorized,
    SelfSigned,
}

impl Shows {
    /// Returns the certificate in DER.
    pub fn certificate(self) -> &'static [u8] {
        let certificates = Certificates::get();
        match self {
            Shows::Nothing => &[],
            Shows::Authorized => certificates.client.certificate.der(),
            Shows::SelfSigned => certificates.self_signed.certificate.der(),
        }
    }
}

/// Creates a client that trusts the servers, for HTTPS and HTTP.
pub fn http(shows: Shows) -> TlsClient {
    let certificates = Certificates::get();
    let mut roots = RootCertStore::empty();
    roots.add(certificates.authority.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let shown = |one: &Certified| -> (Vec<CertificateDer<'static>>, _) {
        let key = PrivatePkcs8KeyDer::from(one.key.serialize_der());
        (vec![one.certificate.der().clone()], key.into())
    };
    let config = match shows {
        Shows::Nothing => config.with_no_client_auth(),
        Shows::Authorized | Shows::SelfSigned => {
            let (chain, key) = shown(match shows {
                Shows::Authorized => &certificates.client,
                _ => &certificates.self_signed,
            });
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
    legacy::Client::builder(TokioExecutor::new()).build(connector.build())
}
