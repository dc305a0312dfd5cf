//! Failing servers under load: no request fails, and there are few token requests.

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../../it/support/api.rs"]
mod api;
mod load;
mod records;
mod servers;
#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../../it/support/source.rs"]
mod source;
#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../../it/support/trace.rs"]
mod trace;

use self::api::Api;
use self::load::{CACHES, Load};
use self::source::Source;
use self::trace::Trace;
