//! Tests events, spans and metrics, and that they contain no secrets.

#[cfg(feature = "metrics")]
mod counting;
mod displaced_errors;
mod events;
#[cfg(feature = "metrics")]
mod failing_gauge;
mod foreign_texts;
mod labels;
#[cfg(feature = "metrics")]
mod metrics;
mod reentrant;
mod reentrant_core;
mod secrets;

use tower::ServiceExt;
use tower_oauth2::{OAuth2Layer, Origins, Tokens};

use crate::support::{Api, Trace, get};

fn layer(tokens: &Tokens) -> OAuth2Layer {
    OAuth2Layer::new(tokens.clone(), Origins::only(["https://api.test"]).unwrap())
}

/// Sends a request, and returns its status, or 0 for an error.
async fn send(layer: &OAuth2Layer, api: &Api) -> u16 {
    layer
        .layer(api.clone())
        .oneshot(get("/"))
        .await
        .map_or(0, |response| response.status().as_u16())
}

/// Returns the level and message of each event since line `from`, and names of spans.
fn said(trace: &Trace, from: usize) -> Vec<String> {
    trace.lines()[from..].iter().map(|line| gist(line)).collect()
}

fn gist(line: &str) -> String {
    let mut words = line.split(' ');
    let (level, _target, name) = (words.next().unwrap(), words.next(), words.next().unwrap());
    match line.split_once(" message=") {
        Some((_, rest)) => {
            let message: Vec<_> = rest.split(' ').take_while(|word| !word.contains('=')).collect();
            format!("{level} {}", message.join(" "))
        }
        None => format!("{level} <{name}>"),
    }
}
