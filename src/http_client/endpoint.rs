//! Sends token requests and metadata requests with a `reqwest::Client`.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::util::BoxCloneService;
use tower::{BoxError, service_fn};

use crate::error::{TokenError, TokenErrorKind};
use crate::protocol::http_client::{BoxedBody, HttpClient, erase_body, sealed};

/// Marks [`reqwest::Client`] among the [`HttpClient`]s.
///
/// # Example
///
/// ```
/// use tower_oauth2::TokenEndpoint;
///
/// fn endpoint(http: reqwest::Client) -> TokenEndpoint {
///     TokenEndpoint::new(http)
/// }
/// ```
///
/// [`reqwest::Client`]: https://docs.rs/reqwest/latest/reqwest/struct.Client.html
#[derive(Debug)]
#[non_exhaustive]
pub struct ReqwestClient;

impl sealed::Sealed<ReqwestClient> for reqwest::Client {}

#[diagnostic::do_not_recommend]
impl HttpClient<ReqwestClient> for reqwest::Client {
    fn into_boxed(self) -> sealed::Boxed {
        let service = service_fn(move |request| fetch(self.clone(), request));
        sealed::Boxed(BoxCloneService::new(service))
    }
}

/// Sends a request whose body may contain a secret (W4).
async fn fetch(
    client: reqwest::Client,
    request: Request<Bytes>,
) -> Result<Response<BoxedBody>, BoxError> {
    // reqwest cannot clone a stream. It would send any other body to the target of a 307 or 308.
    let request = request.map(|body| reqwest::Body::wrap(Full::new(body)));
    let request = reqwest::Request::try_from(request)?;
    let url = request.url().clone();
    // The query of the URL may contain a secret, which the error would quote.
    let response = client.execute(request).await.map_err(reqwest::Error::without_url)?;
    if *response.url() != url {
        let note = "reqwest followed one, and the response to it is not used";
        let error = TokenError::new(TokenErrorKind::Redirect, note)
            .with_hint("build the reqwest::Client with Policy::none()".to_owned());
        return Err(error.into());
    }
    Ok(Response::from(response).map(erase_body))
}
