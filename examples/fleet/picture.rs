//! Draws the token requests of a day as an SVG. Each scenario has a panel, and all panels have the
//! same scale.

use std::fmt::Write;
use std::time::Duration;

use crate::day::Plan;
use crate::figures::{Figures, clock, thousands};

/// The width of the picture. Pages scale it down: the smallest text is still legible on a phone.
const PAGE: usize = 440;
/// The distance of texts from the picture's edge.
const EDGE: usize = 14;
/// The size of the plot in a panel.
const WIDTH: usize = 360;
const HEIGHT: usize = 78;
/// The margins of a plot, for the axis, the title and the ticks.
const LEFT: usize = 62;
const ABOVE: usize = 52;
const BELOW: usize = 12;
/// The heights above the first panel and below the last one.
const HEAD: usize = 152;
const FOOT: usize = 84;
/// The lower end of the logarithmic scale. Fewer requests per minute are drawn as none.
const MIN_VALUE: f64 = 0.5;

/// Colours for light and dark pages. A picture that is a file follows the reader's preference, and
/// has its own background. In a page of rustdoc it follows the theme of the page.
const STYLE: &str = "\
.fleet{--ground:#fff;--ink:#1f2328;--soft:#57606a;--grid:#d8dee4;--axis:#8c959f;--default:#0f766e;\
--ahead:#0969da;--by-hand:#b45309;--outage:#f2b8bd;--revoked:#8250df;\
font:13px system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\
.fleet text{fill:var(--soft)}\
.fleet .ground{fill:var(--ground)}\
.fleet .title{font-size:16px;font-weight:600;fill:var(--ink)}\
.fleet .name{font-size:14px;font-weight:600;fill:var(--ink)}\
.fleet .end{text-anchor:end}\
.fleet .mid{text-anchor:middle}\
.fleet .grid{stroke:var(--grid);fill:none}\
.fleet .axis{stroke:var(--axis);fill:none}\
.fleet .default{fill:var(--default)}\
.fleet .ahead{fill:var(--ahead)}\
.fleet .by-hand{fill:var(--by-hand)}\
.fleet .outage{fill:var(--outage)}\
.fleet .revoked{stroke:var(--revoked);stroke-width:1.5;stroke-dasharray:4 3;fill:none}\
@media (prefers-color-scheme:dark){.fleet:root{--ground:#0d1117;--ink:#f0f6fc;--soft:#b1bac4;\
--grid:#2a313a;--axis:#8b949e;--default:#2dd4bf;--ahead:#58a6ff;--by-hand:#f0a04b;\
--outage:#a13b43;--revoked:#d2a8ff}}\
html[data-theme=dark] .fleet,html[data-theme=ayu] .fleet{--ink:#f0f6fc;--soft:#c3cbd4;\
--grid:#555c64;--axis:#a0a8b1;--default:#2dd4bf;--ahead:#58a6ff;--by-hand:#f0a04b;\
--outage:#b0484f;--revoked:#d2a8ff}\
html[data-theme] .fleet .ground{display:none}";

pub(crate) fn draw(plan: &Plan, all: &[Figures]) -> String {
    let height = HEAD + all.len() * (ABOVE + HEIGHT + BELOW) + FOOT;
    let processes = thousands(plan.processes.into());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"fleet\" \
         viewBox=\"0 0 {PAGE} {height}\" width=\"520\" style=\"max-width:100%\" role=\"img\" \
         aria-labelledby=\"fleet-title fleet-desc\">\n\
         <title id=\"fleet-title\">Token requests per minute of {processes} processes over {} \
         hours</title>\n\
         <desc id=\"fleet-desc\">{}</desc>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{PAGE}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"{EDGE}\" y=\"28\">Token requests per minute</text>\
         <text x=\"{EDGE}\" y=\"48\">{processes} processes, {} hours</text>\n",
        plan.hours,
        all.iter()
            .map(|figures| { format!("{}: {}.", figures.scenario.title(), summary(figures)) })
            .collect::<Vec<_>>()
            .join(" "),
        plan.hours,
    );
    legend(&mut svg, plan);
    let scale = Scale::of(all);
    let mut y = HEAD;
    for figures in all {
        y += ABOVE;
        let _ = writeln!(svg, "<g transform=\"translate({LEFT} {y})\">");
        panel(&mut svg, plan, figures, &scale);
        svg += "</g>\n";
        y += HEIGHT + BELOW;
    }
    let _ = writeln!(svg, "<g transform=\"translate({LEFT} {})\">", y - BELOW);
    hours(&mut svg, plan);
    svg += "</g>\n";
    let minutes = minutes_in_a_column(plan);
    let each = match minutes {
        1 => "one minute".to_owned(),
        _ => format!("the busiest of {minutes} minutes"),
    };
    let _ = writeln!(
        svg,
        "<text class=\"mid\" x=\"{}\" y=\"{}\">hours since the start</text>\
         <text x=\"{EDGE}\" y=\"{}\">Each column shows {each}.</text>\
         <text x=\"{EDGE}\" y=\"{}\">The scale is logarithmic.</text>",
        LEFT + WIDTH / 2,
        height - 54,
        height - 32,
        height - 14,
    );
    svg += "</svg>\n";
    svg
}

/// Explains the colours.
fn legend(svg: &mut String, plan: &Plan) {
    let columns = [
        ("default", "tower-oauth2 with its defaults"),
        ("ahead", "tower-oauth2, set to renew a minute ahead"),
        ("by-hand", "a client written by hand"),
    ];
    for ((class, text), y) in columns.into_iter().zip((60..).step_by(18)) {
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{EDGE}\" y=\"{y}\" width=\"12\" height=\"14\"/>\
             <text x=\"{}\" y=\"{}\">{text}</text>",
            EDGE + 20,
            y + 12,
        );
    }
    let _ = writeln!(
        svg,
        "<rect class=\"outage\" x=\"{EDGE}\" y=\"114\" width=\"12\" height=\"14\"/>\
         <text x=\"{}\" y=\"126\">token endpoint down, {} to {}</text>",
        EDGE + 20,
        clock(plan.outage.start),
        clock(plan.outage.end),
    );
    let _ = writeln!(
        svg,
        "<path class=\"revoked\" d=\"M{} 132v14\"/><text x=\"{}\" y=\"144\">all tokens revoked, \
         {}</text>",
        EDGE + 6,
        EDGE + 20,
        clock(plan.revoked),
    );
}

fn summary(figures: &Figures) -> String {
    format!(
        "{} token requests, at most {} per minute",
        thousands(figures.total()),
        thousands(figures.minutes().into_iter().max().unwrap_or(0).into()),
    )
}

fn panel(svg: &mut String, plan: &Plan, figures: &Figures, scale: &Scale) {
    let minutes = figures.minutes();
    let x = EDGE as i32 - LEFT as i32;
    let _ = writeln!(
        svg,
        "<text class=\"name\" x=\"{x}\" y=\"-27\">{}</text><text x=\"{x}\" y=\"-9\">{}</text>",
        figures.scenario.title(),
        summary(figures),
    );
    // The labels of every other power of ten have enough space.
    for decade in (0..=scale.most.log10() as u32).step_by(2) {
        let value = 10_u64.pow(decade);
        let y = scale.y(value as f64);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M0 {y:.1}h{WIDTH}\"/><text class=\"end\" x=\"-6\" \
             y=\"{:.1}\">{}</text>",
            y + 4.5,
            thousands(value),
        );
    }
    let (from, to) = (x_of(plan, plan.outage.start), x_of(plan, plan.outage.end));
    let _ = writeln!(
        svg,
        "<rect class=\"outage\" x=\"{from:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\"/>\
         <path class=\"revoked\" d=\"M{:.1} 0v{HEIGHT}\"/>",
        (to - from).max(0.0),
        x_of(plan, plan.revoked),
    );
    let class = figures.scenario.class();
    let _ = writeln!(svg, "<path class=\"{class}\" d=\"{}\"/>", columns(plan, &minutes, scale));
    let _ = writeln!(svg, "<path class=\"axis\" d=\"M0 0V{HEIGHT}H{WIDTH}\"/>");
    for hour in ticks(plan) {
        let _ =
            writeln!(svg, "<path class=\"axis\" d=\"M{:.1} {HEIGHT}v4\"/>", x_of_hour(plan, hour));
    }
}

/// Labels the hours below the last panel.
fn hours(svg: &mut String, plan: &Plan) {
    for hour in ticks(plan) {
        let x = x_of_hour(plan, hour);
        let _ = writeln!(svg, "<text class=\"mid\" x=\"{x:.1}\" y=\"18\">{hour}</text>");
    }
}

fn ticks(plan: &Plan) -> impl Iterator<Item = u32> {
    let step = plan.hours.div_ceil(24).max(1) * if plan.hours >= 12 { 4 } else { 1 };
    (0..=plan.hours).step_by(step as usize)
}

fn x_of_hour(plan: &Plan, hour: u32) -> f64 {
    x_of(plan, Duration::from_secs(3600 * u64::from(hour)))
}

fn x_of(plan: &Plan, time: Duration) -> f64 {
    time.min(plan.length()).as_secs_f64() / plan.length().as_secs_f64() * WIDTH as f64
}

fn minutes_in_a_column(plan: &Plan) -> usize {
    (plan.hours as usize * 60).div_ceil(WIDTH)
}

/// Returns the outline of all columns. Adjacent columns of equal height are merged.
fn columns(plan: &Plan, minutes: &[u32], scale: &Scale) -> String {
    let in_a_column = minutes_in_a_column(plan);
    let width = WIDTH as f64 * in_a_column as f64 / minutes.len().max(1) as f64;
    let tops = minutes.chunks(in_a_column).map(|column| column.iter().copied().max().unwrap_or(0));
    let tops: Vec<_> = tops.map(|top| format!("{:.0}", scale.y(top.into()))).collect();
    let mut path = format!("M0 {HEIGHT}");
    let mut column = 0;
    for same in tops.chunk_by(|one, next| one == next) {
        column += same.len();
        let _ = write!(path, "V{}H{:.1}", same[0], (column as f64 * width).min(WIDTH as f64));
    }
    path + &format!("V{HEIGHT}z")
}

/// Maps a count to a height on a logarithmic scale.
struct Scale {
    most: f64,
}

impl Scale {
    fn of(all: &[Figures]) -> Self {
        let most = all.iter().flat_map(Figures::minutes).max().unwrap_or(0);
        Self { most: 1.5 * f64::from(most.max(10)) }
    }

    fn y(&self, value: f64) -> f64 {
        let span = (self.most / MIN_VALUE).log10();
        let part = (value.max(MIN_VALUE) / MIN_VALUE).log10() / span;
        HEIGHT as f64 * (1.0 - part)
    }
}
