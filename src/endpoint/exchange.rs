//! One token request: up to three HTTP requests, when a clock is off or a nonce is wanted.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Service, ServiceExt};

use super::decode;
use crate::client_auth::ClientAuthentication;
use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::protocol::body;
use crate::protocol::challenge;
use crate::protocol::dpop::{DPOP, ProofVerdict, SentProof};
use crate::protocol::server_clock::{Offset, SkewEstimate};
use crate::secret::{Late, in_time};
use crate::token::AccessToken;
use crate::util::clock::{Now, wall_clock};
use crate::util::limits::MAX_LIFETIME;

/// Asks for a token within `limit`.
///
/// A clock offset is remembered only if it led to a token (W8).
pub(super) async fn exchange<H, B>(
    http: H,
    request: &TokenRequest,
    limit: Duration,
) -> Result<AccessToken, TokenError>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    H::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    let credentials = request.credentials();
    let (clocks, origin) = (credentials.server_clocks(), credentials.token_endpoint_origin());
    let deadline = Instant::now() + limit.min(MAX_LIFETIME);
    let mut clock = clocks.get(origin);
    let (mut is_assertion_retried, mut is_proof_retried) = (false, false);
    loop {
        let answer = attempt(http.clone(), request, clock, deadline).await?;
        let has_time = Instant::now() < deadline;
        // Each retry follows once at most, whatever the next response says.
        let retry_clock = match answer.remedy() {
            Remedy::NewAssertion(better) if has_time && !is_assertion_retried => {
                let ahead = better.as_secs();
                tracing::info!(ahead, "assertion was refused and the clock differs; once more");
                is_assertion_retried = true;
                Some(better)
            }
            Remedy::NewProof(better) if has_time && !is_proof_retried => {
                tracing::debug!("proof of possession was refused; once more with another one");
                is_proof_retried = true;
                Some(better)
            }
            _ => None,
        };
        if let Some(better) = retry_clock {
            if better != clock {
                clocks.refuse(origin, clock, answer.reading);
            }
            clock = better;
            continue;
        }
        let Answer { head, body, requested_at, reading, .. } = answer;
        let result = decode::decode(head, &body, credentials.dpop_key().is_some());
        match &result {
            Ok(_) => clocks.accept(origin, clock),
            Err(_) => clocks.refuse(origin, clock, reading),
        }
        return result.map(|token| token.with_requested_at_both(requested_at));
    }
}

/// The response to one HTTP request, and what is known of the request.
struct Answer {
    head: Parts,
    body: Bytes,
    requested_at: Now,
    clock: Offset,
    /// Whether times that were signed here depended on the clock.
    has_signed_times: bool,
    reading: Option<SkewEstimate>,
    proof: ProofVerdict,
}

/// Says how the next request may succeed where this one was refused.
enum Remedy {
    None,
    /// Send an assertion that goes by this clock.
    NewAssertion(Offset),
    /// Send a proof with another nonce or by this clock.
    NewProof(Offset),
}

impl Answer {
    fn remedy(&self) -> Remedy {
        let better = self.reading.filter(|reading| reading.contradicts(self.clock));
        let better = better.map(SkewEstimate::offset);
        if self.proof == ProofVerdict::RetryWithNewProof {
            return Remedy::NewProof(better.unwrap_or(self.clock));
        }
        match better {
            Some(better) if self.has_signed_times && self.may_be_about_time() => {
                Remedy::NewAssertion(better)
            }
            _ => Remedy::None,
        }
    }

    /// Returns whether a server answers like this to an assertion of another time.
    ///
    /// RFC 7521 section 4.2.1 names `invalid_client`, and section 4.1.1 names `invalid_grant`. Some
    /// servers call it an `invalid_request`, or send no code.
    fn may_be_about_time(&self) -> bool {
        matches!(self.head.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED)
            && matches!(
                decode::error(&self.body).as_deref(),
                None | Some("invalid_client" | "invalid_grant" | "invalid_request")
            )
    }
}

/// Sends one HTTP request, with times by the offset `clock`, and reads its response.
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
        let encoded = encode(request, clock, deadline).await?;
        let sent_at = Instant::now();
        let response = http.oneshot(encoded.request).await;
        let response = response.map_err(|error| TokenError::from_transport(error.into()))?;
        let reading =
            SkewEstimate::from_response(response.headers(), wall_clock(), sent_at.elapsed());
        Ok::<_, TokenError>((response, reading, encoded.has_signed_times, encoded.proof))
    };
    let (response, reading, has_signed_times, proof) = match timeout_at(deadline, sent).await {
        Ok(sent) => sent?,
        Err(elapsed) => {
            return Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into()));
        }
    };
    let (head, body) = response.into_parts();
    let body = body::read(head.status, body, deadline).await?;
    let proof = proof.map_or(ProofVerdict::Accepted, |sent| {
        let error = decode::error(&body);
        sent.classify(head.status, &head.headers, error.as_deref())
    });
    Ok(Answer { head, body, requested_at, clock, has_signed_times, reading, proof })
}

struct Encoded {
    request: Request<Full<Bytes>>,
    has_signed_times: bool,
    proof: Option<SentProof>,
}

/// Returns the HTTP request, with times by the offset `clock`.
async fn encode(
    request: &TokenRequest,
    clock: Offset,
    deadline: Instant,
) -> Result<Encoded, TokenError> {
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
    let has_signed_times = parts.was_asked_for_the_time();
    let (headers, body) = parts.encode();

    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = credentials.token_endpoint().clone();
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let proof = credentials.dpop_key().map(|key| {
        key.prove_token_request(request.uri(), credentials.token_endpoint_origin(), clock)
    });
    let proof = match proof.transpose() {
        Ok(proof) => proof.map(|(value, sent)| {
            request.headers_mut().insert(DPOP, value);
            sent
        }),
        Err(error) => return Err(TokenError::with_source(TokenErrorKind::Proof, error)),
    };
    Ok(Encoded { request, has_signed_times, proof })
}
