//! How to speak, and whom to trust.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Mistake;
use super::value::Value;

pub(super) const HELP: &str = "\
Connection:
  --cacert FILE              trust these certificates (PEM) and not the platform's
  --http2                    speak HTTP/2 only, with the API and with the token endpoint; over plain
                             http as one who knows that they understand it
";

#[derive(Default)]
pub(crate) struct Connection {
    /// In the place of the platform's.
    pub(crate) roots: Option<Roots>,
    /// And nothing else.
    pub(crate) http2: bool,
}

pub(crate) struct Roots {
    pub(crate) certificates: RootCertStore,
    pub(crate) pem: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Group(Connection);

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "cacert" => {
                let roots = read_roots(&value.path()?);
                self.0.roots = Some(roots.map_err(|what| value.mistake(&what))?);
            }
            "http2" => self.0.http2 = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Connection {
        self.0
    }
}

fn read_roots(path: &Path) -> Result<Roots, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut certificates = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificates
            .add(certificate.map_err(|_| "is not valid PEM".to_owned())?)
            .map_err(|_| "holds a certificate that is not valid".to_owned())?;
    }
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    Ok(Roots { certificates, pem })
}
