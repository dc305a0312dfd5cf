//! Converts requests and responses between reqwest's types and those of `http`.

use reqwest::{Body, ResponseBuilderExt};
use tokio::time::Instant;

use super::body::RequestBody;
use crate::oauth2::Deadline;

/// Converts a request for the layer. `limit` bytes of a stream are remembered.
///
/// The timeout of the request becomes a deadline, which includes the wait for a token and a replay.
pub(super) fn into_http(
    request: reqwest::Request,
    limit: usize,
) -> reqwest::Result<http::Request<RequestBody>> {
    // A timeout beyond the range of the clock is ignored.
    let end = request.timeout().and_then(|timeout| Instant::now().checked_add(*timeout));
    let request = http::Request::<Body>::try_from(request)?;
    let mut request = request.map(|body| RequestBody::new(body, limit));
    if let Some(end) = end {
        let deadline = Deadline::new(end, "the timeout of the request has passed");
        request.extensions_mut().insert(deadline);
    }
    Ok(request)
}

/// Converts a request that has passed the layer. Its timeout is the rest of the time until its
/// deadline.
pub(super) fn into_reqwest(
    request: http::Request<RequestBody>,
) -> reqwest::Result<reqwest::Request> {
    let deadline = request.extensions().get::<Deadline>().copied();
    let mut request = reqwest::Request::try_from(request)?;
    if let Some(deadline) = deadline {
        *request.timeout_mut() = Some(deadline.remaining());
    }
    Ok(request)
}

/// Converts a response. The conversion back restores its URL.
pub(super) fn into_http_response(response: reqwest::Response) -> http::Response<Body> {
    let url = response.url().clone();
    let mut response = http::Response::from(response);
    // reqwest has no other public way to add a URL than the builder of a response.
    if let Ok(with_url) = http::Response::builder().url(url).body(()) {
        response.extensions_mut().extend(with_url.into_parts().0.extensions);
    }
    response
}
