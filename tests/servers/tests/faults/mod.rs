//! Failing servers under load: no request fails, and there are few token requests.

mod load;
mod records;
mod servers;

use tower_oauth2_testkit::{Api, ScriptedSource, Trace};

use self::load::{CACHES, Load};
