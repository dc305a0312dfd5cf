//! Options for connections and TLS.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Mistake;
use super::value::Value;
use crate::bounded;

pub(super) const HELP: &str = "\
Connection:
  --cacert FILE              trust these certificates (PEM) instead of the platform's
  --cert FILE                the client certificate (PEM, followed by its chain), for the API and
                             the token endpoint; needs --key
  --key FILE                 the private key of the certificate (PEM)
  --http2                    use HTTP/2 only, for the API and the token endpoint; over plain http
                             with prior knowledge
";

#[derive(Default)]
pub(crate) struct Connection {
    /// Replace the platform's roots.
    pub(crate) roots: Option<Roots>,
    pub(crate) identity: Option<Identity>,
    /// Whether only HTTP/2 is used.
    pub(crate) http2: bool,
}

pub(crate) struct Roots {
    pub(crate) certificates: RootCertStore,
    pub(crate) pem: Vec<u8>,
}

/// The client certificate and its key.
pub(crate) struct Identity {
    /// The client's certificate comes first. Never empty.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

#[derive(Default)]
pub(super) struct Group {
    connection: Connection,
    chain: Option<Vec<CertificateDer<'static>>>,
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "cacert" => {
                let roots = read_roots(&value.path()?);
                self.connection.roots = Some(roots.map_err(|what| value.mistake(&what))?);
            }
            "cert" => {
                let chain = read_chain(&value.path()?);
                self.chain = Some(chain.map_err(|what| value.mistake(&what))?);
            }
            "http2" => self.connection.http2 = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks the options, and returns the settings of connections.
    pub(super) fn finish(self, key: Option<&Path>) -> Result<Connection, Mistake> {
        let identity = match (self.chain, key) {
            (Some(chain), Some(key)) => Some(Identity { chain, key: read_key(key)? }),
            (Some(_), None) => return Err(Mistake::new("--cert: needs --key")),
            (None, _) => None,
        };
        Ok(Connection { identity, ..self.connection })
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Mistake> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let what = match error {
            pem::Error::NoItemsFound => "holds no private key".to_owned(),
            error => unreadable(error),
        };
        Mistake(format!("--key: {what}"))
    })
}

fn read_roots(path: &Path) -> Result<Roots, String> {
    let pem = bounded::file(path).map_err(|error| error.to_string())?;
    let mut certificates = RootCertStore::empty();
    for certificate in chain_in(&pem)? {
        certificates
            .add(certificate)
            .map_err(|_| "holds a certificate that is not valid".to_owned())?;
    }
    Ok(Roots { certificates, pem })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    chain_in(&bounded::file(path).map_err(|error| error.to_string())?)
}

fn chain_in(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(unreadable)?;
    if chain.is_empty() { Err("holds no certificate".to_owned()) } else { Ok(chain) }
}

fn unreadable(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        _ => "is not valid PEM".to_owned(),
    }
}
