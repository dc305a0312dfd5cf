//! One token request: a request and its response, or two when a clock is off or a nonce is wanted, or three.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Service, ServiceExt};

use super::{decode, read};
use crate::challenge;
use crate::client_auth::ClientAuthentication;
use crate::clock::{Now, wall_clock};
use crate::dpop::{DPOP, ProofVerdict, SentProof};
use crate::error::{TokenError, TokenErrorKind};
use crate::request::TokenRequest;
use crate::secret::{Late, in_time};
use crate::server_clock::{Clocks, Offset, Reading};
use crate::token::{AccessToken, MAX_LIFETIME};

pub(super) async fn exchange<H, B>(
    http: H,
    request: &TokenRequest,
    limit: Duration,
    clocks: &Clocks,
) -> Result<AccessToken, TokenError>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    H::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let credentials = request.credentials();
    let origin = credentials.token_endpoint_origin();
    let deadline = Instant::now() + limit.min(MAX_LIFETIME);
    let mut clock = clocks.get(origin);
    let (mut is_set_right, mut is_proven_anew) = (false, false);
    loop {
        let answer = attempt(http.clone(), request, clock, deadline).await?;
        let has_time = Instant::now() < deadline;
        match answer.clock {
            Clock::Off(better) if has_time && !is_set_right => {
                // Once only: the next answer is what it is, whatever its date.
                let ahead = better.as_secs();
                tracing::info!(ahead, "assertion was refused and the clock differs; once more");
                (clock, is_set_right) = (better, true);
                continue;
            }
            // It may have been put right since.
            Clock::Unknown if !is_set_right => clocks.set(origin, Offset::default()),
            Clock::Off(_) | Clock::Unknown | Clock::Fine => {}
        }
        // What came of it shows whether the date can be trusted.
        if is_set_right && answer.head.status.is_success() {
            clocks.set(origin, clock);
        }
        if answer.proof == ProofVerdict::RetryWithNewProof && has_time && !is_proven_anew {
            tracing::debug!("proof of possession was refused; once more with another one");
            is_proven_anew = true;
            continue;
        }
        let Answer { head, body, requested_at, .. } = answer;
        let is_to_be_bound = credentials.dpop_key().is_some();
        return decode::decode(head, body, is_to_be_bound)
            .map(|token| token.with_requested_at_both(requested_at));
    }
}

/// What one HTTP request brought.
struct Answer {
    head: Parts,
    body: Bytes,
    requested_at: Now,
    clock: Clock,
    proof: ProofVerdict,
}

/// What an answer says of the clock that a request went by.
enum Clock {
    /// There was none, or nothing is wrong with it.
    Fine,
    /// The request was refused, and the server goes by another clock.
    Off(Offset),
    /// The request was refused, and the server does not say which clock it goes by.
    Unknown,
}

async fn attempt<H, B>(
    http: H,
    request: &TokenRequest,
    clock: Offset,
    deadline: Instant,
) -> Result<Answer, TokenError>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>>,
    H::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let requested_at = Now::read();
    let sent = async {
        let (request, used_clock, proof) = encode(request, clock, deadline).await?;
        let sent_at = Instant::now();
        let response = http.oneshot(request).await.map_err(|e| transport_error(e.into()))?;
        let clock = used_clock.map_or(Clock::Fine, |used| judge(used, &response, sent_at));
        Ok::<_, TokenError>((response, clock, proof))
    };
    let (response, clock, proof) = match timeout_at(deadline, sent).await {
        Ok(sent) => sent?,
        Err(elapsed) => {
            return Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into()));
        }
    };
    let (head, body) = response.into_parts();
    let body = read::read(head.status, body, deadline).await?;
    let proof = proof.map_or(ProofVerdict::Accepted, |sent| {
        let error = decode::error(&body);
        sent.classify(head.status, &head.headers, error.as_deref())
    });
    Ok(Answer { head, body, requested_at, clock, proof })
}

fn judge<B>(used: Offset, response: &Response<B>, sent_at: Instant) -> Clock {
    if !matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
        return Clock::Fine;
    }
    match Reading::of(response.headers(), wall_clock(), sent_at.elapsed()) {
        Some(reading) if reading.contradicts(used) => Clock::Off(reading.offset()),
        Some(_) => Clock::Fine,
        None => Clock::Unknown,
    }
}

/// The HTTP request, the clock that its times go by, if there are any, and the proof that it carries, if it
/// does.
async fn encode(
    request: &TokenRequest,
    clock: Offset,
    deadline: Instant,
) -> Result<(Request<Full<Bytes>>, Option<Offset>, Option<SentProof>), TokenError> {
    let credentials = request.credentials();
    let mut parts = credentials.to_parts();
    parts.set_clock(clock);
    parts.set_deadline(deadline);
    if let Some(claims) = request.claims() {
        let claims = match parts.parameter("claims") {
            Some(own) => challenge::merge_claims(own, claims),
            None => claims.to_owned(),
        };
        parts.set_parameter("claims", claims);
    }
    let auth = credentials.client_auth();
    in_time(Some(deadline), auth, auth.authenticate(&mut parts)).await.map_err(|error| {
        let note = if error.is::<Late>() { "a secret or key did not arrive in time" } else { "" };
        TokenError::with_source(TokenErrorKind::ClientAuthentication, error).with_note(note)
    })?;
    let used_clock = parts.used_clock();
    let (headers, body) = parts.encode();

    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = credentials.token_endpoint().clone();
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let origin = credentials.token_endpoint_origin();
    let prover = credentials.dpop_key().map(|key| key.prover(None));
    let proof = prover.map(|prover| prover.prove(&Method::POST, request.uri(), origin.clone()));
    let proof = match proof.transpose() {
        Ok(proof) => proof.map(|(value, sent)| {
            request.headers_mut().insert(DPOP, value);
            sent
        }),
        Err(error) => return Err(TokenError::with_source(TokenErrorKind::Proof, error)),
    };
    Ok((request, used_clock, proof))
}

pub(super) fn transport_error(error: BoxError) -> TokenError {
    let known = TokenError::from_source(error);
    if known.kind() == TokenErrorKind::Source {
        known.with_kind(TokenErrorKind::Transport)
    } else {
        known
    }
}
