//! The results of the scenarios, printed as tables.

use std::fmt::Write;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::day::{Day, Plan};
use crate::scenario::Scenario;

pub(crate) struct Figures {
    pub(crate) scenario: Scenario,
    /// Token requests in each second.
    pub(crate) seconds: Vec<u32>,
    unavailable: u64,
    causes: [u64; 3],
    store: Vec<u32>,
    store_locks: u64,
    calls: u64,
    refused: u64,
    unauthorized: u64,
    without_token: u64,
    waited: u64,
    mean_wait: Duration,
    longest_wait: Duration,
}

impl Figures {
    pub(crate) fn of(scenario: Scenario, day: &Day) -> Self {
        let tally = &day.tally;
        let waited = tally.waited.get();
        Self {
            scenario,
            seconds: tally.token_requests.to_vec(),
            unavailable: tally.unavailable.get(),
            causes: [&tally.cold, &tally.renewal, &tally.rejected].map(|count| count.get()),
            store: tally.store.to_vec(),
            store_locks: tally.store_locks.get(),
            calls: tally.calls.get(),
            refused: tally.api_refused.get(),
            unauthorized: tally.unauthorized.get(),
            without_token: tally.without_token.get(),
            waited,
            mean_wait: Duration::from_millis(tally.all_waits.get() / waited.max(1)),
            longest_wait: Duration::from_millis(tally.longest_wait.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.seconds.iter().copied().map(u64::from).sum()
    }

    pub(crate) fn minutes(&self) -> Vec<u32> {
        self.seconds.chunks(60).map(|minute| minute.iter().sum()).collect()
    }

    /// Returns a quantile of the token requests per second. A `share` of 0.5 is the median.
    fn quantile(&self, share: f64) -> u32 {
        let mut seconds = self.seconds.clone();
        seconds.sort_unstable();
        let last = seconds.len().saturating_sub(1);
        seconds.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
    }
}

fn most(seconds: &[u32]) -> u32 {
    seconds.iter().copied().max().unwrap_or(0)
}

fn during(seconds: &[u32], time: Range<Duration>) -> &[u32] {
    let index = |time: Duration| (time.as_secs() as usize).min(seconds.len());
    &seconds[index(time.start)..index(time.end)]
}

/// Returns all tables as Markdown.
pub(crate) fn tables(plan: &Plan, all: &[Figures]) -> String {
    let mut text = introduction(plan);
    text += "\n| at the token endpoint | token requests | per second: median | p99 | peak | \
             busiest minute | peak second of the outage | minute after the outage | \
             minute after the revocation |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    let minute = Duration::from_secs(60);
    for figures in all {
        let seconds = &figures.seconds;
        let after = |moment: Duration| -> u32 {
            during(seconds, moment..moment + minute).iter().copied().sum()
        };
        row(
            &mut text,
            figures,
            &[
                figures.total(),
                figures.quantile(0.5).into(),
                figures.quantile(0.99).into(),
                most(seconds).into(),
                most(&figures.minutes()).into(),
                most(during(seconds, plan.outage.clone())).into(),
                after(plan.outage.end).into(),
                after(plan.revoked).into(),
            ],
        );
    }
    text += "\n| at the API | calls | waited for a token | mean wait in ms | \
             longest wait in ms | 401 responses | 401 returned to callers | \
             failed without a token |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|\n";
    for figures in all {
        row(
            &mut text,
            figures,
            &[
                figures.calls,
                figures.waited,
                millis(figures.mean_wait),
                millis(figures.longest_wait),
                figures.refused,
                figures.unauthorized,
                figures.without_token,
            ],
        );
    }
    text += "\n| causes, and at the store | 503 | first or expired | renewal | after 401 | \
             store operations | lease requests | peak second |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|\n";
    for figures in all.iter().filter(|figures| figures.scenario.has_cache()) {
        let [cold, renewal, rejected] = figures.causes;
        let operations = figures.store.iter().copied().map(u64::from).sum();
        let most = most(&figures.store).into();
        let store = [operations, figures.store_locks, most];
        let cells = [figures.unavailable, cold, renewal, rejected].into_iter().chain(store);
        row(&mut text, figures, &cells.collect::<Vec<_>>());
    }
    text
}

fn introduction(plan: &Plan) -> String {
    let Plan { processes, hours, outage, .. } = plan;
    format!(
        "{} processes run for {hours} hours. All start within the first minute. Each calls the \
         API every {} s on average, and a token lives for {} s. The token endpoint is down from \
         {} to {}. All tokens are revoked at {}.\n\n\
         \"tower-oauth2\" is this crate with its defaults. With \"a minute ahead\", it is set to \
         renew a token one minute before the token ends, as many clients do. The clients \"by \
         hand\" fetch a token when they have none. The first one returns a 401 to its caller. The \
         second one fetches another token after a 401, and sends the request again. Processes \
         that renew together meet an outage together or not at all. `--outage-at` moves the \
         outage.\n",
        thousands((*processes).into()),
        plan.every.as_secs(),
        plan.lifetime.as_secs(),
        clock(outage.start),
        clock(outage.end),
        clock(plan.revoked),
    )
}

fn row(text: &mut String, figures: &Figures, cells: &[u64]) {
    *text += &format!("| {} |", figures.scenario.title());
    for cell in cells {
        let _ = write!(text, " {} |", thousands(*cell));
    }
    text.push('\n');
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Formats a time of day, such as `6:05`.
pub(crate) fn clock(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

/// Formats a number, such as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
