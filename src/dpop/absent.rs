//! Without the feature there are no keys, and the compiler leaves out what is done with one.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tower::BoxError;

use super::Opinion;
use crate::origin::Origin;
use crate::token::AccessToken;

#[derive(Clone, Debug)]
pub(crate) enum DpopKey {}

#[derive(Clone, Debug)]
pub(crate) enum Prover {}

#[derive(Debug)]
pub(crate) enum Sent {}

impl DpopKey {
    pub(crate) fn thumbprint(&self) -> String {
        match *self {}
    }

    pub(crate) fn prover(&self, _token: Option<&AccessToken>) -> Prover {
        match *self {}
    }
}

impl Prover {
    pub(crate) fn prove(
        &self,
        _method: &Method,
        _uri: &Uri,
        _origin: Origin,
    ) -> Result<(HeaderValue, Sent), BoxError> {
        match *self {}
    }
}

impl Sent {
    pub(crate) fn judge(
        &self,
        _status: StatusCode,
        _headers: &HeaderMap,
        _error: Option<&str>,
    ) -> Opinion {
        match *self {}
    }
}
