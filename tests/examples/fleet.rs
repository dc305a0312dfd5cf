//! A simulated day of many processes.

use crate::process::{File, example, run};

/// Returns the cells of a row as numbers.
fn row(tables: &str, table: &str, scenario: &str) -> Vec<u64> {
    let rows = tables.lines().skip_while(|line| !line.starts_with(&format!("| {table} |")));
    let row = rows.take_while(|line| !line.is_empty());
    let row = row.into_iter().find_map(|line| line.strip_prefix(&format!("| {scenario} |")));
    let row = row.unwrap_or_else(|| panic!("{table}: {scenario} is missing in {tables}"));
    row.trim_end_matches('|')
        .split('|')
        .map(|cell| cell.trim().replace(',', "").parse().unwrap())
        .collect()
}

// C6, C9, S5
#[tokio::test]
async fn a_fleet_shares_its_token_requests() {
    let picture = File::new("fleet.svg", "");
    let mut command = example("fleet");
    command.args(["--quick", "--svg", picture.path()]);
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));

    let requests = |scenario| row(&ended.stdout, "at the token endpoint", scenario);
    let calls = |scenario| row(&ended.stdout, "at the API", scenario);
    let [total, _, _, _, minute, outage, ..] = requests("tower-oauth2")[..] else { panic!() };
    // For each of 200: the first token, four renewals, one after the revocation, some failures.
    assert!((200 * 5..200 * 9).contains(&total), "{total}");
    assert_eq!(minute, 200, "the busiest minute is the first one");
    let [.., unauthorized, failed] = calls("tower-oauth2")[..] else { panic!() };
    assert_eq!(unauthorized, 0);

    let shared = requests("tower-oauth2, shared store");
    assert!((5..=8).contains(&shared[0]), "{} token requests of the whole fleet", shared[0]);
    assert_eq!(
        shared[4], 1,
        "at most one token request a minute, even at the start and the revocation"
    );
    let [.., unauthorized, without_token] = calls("tower-oauth2, shared store")[..] else {
        panic!()
    };
    assert_eq!((unauthorized, without_token), (0, 0));

    let in_step = requests("tower-oauth2, a minute ahead");
    assert!(
        in_step[5] > 2 * outage,
        "peak of {} in the outage, and {outage} with jitter",
        in_step[5]
    );
    let failed_in_step = calls("tower-oauth2, a minute ahead")[6];
    assert!(failed_in_step > 4 * failed, "{failed_in_step} calls failed, and {failed} with jitter");
    assert!(
        calls("by hand, fetch on expiry")[5] > 200 * 10,
        "the client returns the 401s of revoked tokens"
    );
    let [.., refused, unauthorized, _] = calls("by hand, fetch on 401")[..] else { panic!() };
    assert!(refused > 200 * 3 && unauthorized == 0, "{refused}, {unauthorized}");

    let picture = std::fs::read_to_string(picture.path()).unwrap();
    assert_eq!(picture.matches("class=\"name\"").count(), 6);
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
}

#[tokio::test]
async fn a_fleet_run_is_reproducible() {
    let day = |seed| async move {
        let mut command = example("fleet");
        command.args(["--hours", "2", "--processes", "50", "--scenario", "jitter-store"]);
        command.args(["--seed", seed]);
        run(command).await.stdout
    };
    let tables = day("7").await;
    assert_eq!(tables, day("7").await);
    assert_ne!(tables, day("8").await);
    let mut wrong = example("fleet");
    wrong.args(["--scenario", "tea"]);
    assert_eq!(run(wrong).await.code, Some(2));
}
