//! Draws the token requests of a day as an SVG. Each scenario has a panel, and all panels have the
//! same scale.

use std::fmt::Write;
use std::time::Duration;

use crate::day::Plan;
use crate::figures::{Figures, clock, thousands};

const COLUMNS: usize = 2;
/// The size of the plot in a panel.
const WIDTH: usize = 360;
const HEIGHT: usize = 120;
/// The margins of a plot: the axis on the left, the title above, the hours below.
const LEFT: usize = 48;
const ABOVE: usize = 52;
const BELOW: usize = 26;
const RIGHT: usize = 20;
const HEAD: usize = 68;
const FOOT: usize = 34;
/// The lower end of the logarithmic scale. Fewer requests per minute are drawn as none.
const MIN_VALUE: f64 = 0.5;

/// Colours for the light and the dark scheme. The picture has its own background, so that it is
/// legible on any page.
const STYLE: &str = "\
.fleet text{font-family:system-ui,sans-serif;font-size:11px;fill:#57606a}\
.fleet .ground{fill:#fff}\
.fleet .title{font-size:16px;font-weight:600;fill:#1f2328}\
.fleet .name{font-size:12.5px;font-weight:600;fill:#1f2328}\
.fleet .end{text-anchor:end}\
.fleet .mid{text-anchor:middle}\
.fleet .grid{stroke:#d8dee4;fill:none}\
.fleet .axis{stroke:#8c959f;fill:none}\
.fleet .ours{fill:#0f766e}\
.fleet .theirs{fill:#b45309}\
.fleet .outage{fill:#cf222e;opacity:.22}\
.fleet .revoked{stroke:#8250df;stroke-dasharray:3 3;fill:none}\
@media (prefers-color-scheme:dark){\
.fleet text{fill:#9198a1}\
.fleet .ground{fill:#0d1117}\
.fleet .title,.fleet .name{fill:#f0f6fc}\
.fleet .grid{stroke:#262c36}\
.fleet .axis{stroke:#656c76}\
.fleet .ours{fill:#2dd4bf}\
.fleet .theirs{fill:#f0a04b}\
.fleet .outage{fill:#ff7b72;opacity:.4}\
.fleet .revoked{stroke:#d2a8ff}}";

pub(crate) fn draw(plan: &Plan, all: &[Figures]) -> String {
    let rows = all.len().div_ceil(COLUMNS);
    let width = COLUMNS * (LEFT + WIDTH + RIGHT);
    let height = HEAD + rows * (ABOVE + HEIGHT + BELOW) + FOOT;
    let instances = thousands(plan.instances.into());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"fleet\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"fleet-title\">\n\
         <title id=\"fleet-title\">Token requests per minute of {instances} instances over {} \
         hours</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"30\">Token requests per minute, {instances} \
         instances, {} hours</text>\n",
        plan.hours, plan.hours,
    );
    legend(&mut svg, plan);
    let scale = Scale::of(all);
    for (index, figures) in all.iter().enumerate() {
        let x = LEFT + index % COLUMNS * (LEFT + WIDTH + RIGHT);
        let y = HEAD + ABOVE + index / COLUMNS * (ABOVE + HEIGHT + BELOW);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel(&mut svg, plan, figures, &scale);
        svg += "</g>\n";
    }
    let minutes = minutes_in_a_column(plan);
    let each = match minutes {
        1 => "one minute".to_owned(),
        _ => format!("the busiest of {minutes} minutes"),
    };
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">Each column is {each}. The scale is logarithmic and the same \
         in all panels. The x-axis shows hours since the deployment.</text>",
        height - 16,
    );
    svg += "</svg>\n";
    svg
}

fn legend(svg: &mut String, plan: &Plan) {
    let _ = writeln!(
        svg,
        "<rect class=\"outage\" x=\"{LEFT}\" y=\"45\" width=\"10\" height=\"14\"/>\
         <text x=\"{}\" y=\"56\">token endpoint down, {} to {}</text>",
        LEFT + 16,
        clock(plan.outage.start),
        clock(plan.outage.end),
    );
    let x = LEFT + 224;
    let _ = writeln!(
        svg,
        "<path class=\"revoked\" d=\"M{x} 45v14\"/><text x=\"{}\" y=\"56\">all tokens revoked, \
         {}</text>",
        x + 8,
        clock(plan.revoked),
    );
}

fn panel(svg: &mut String, plan: &Plan, figures: &Figures, scale: &Scale) {
    let minutes = figures.minutes();
    let _ = writeln!(
        svg,
        "<text class=\"name\" y=\"-28\">{}</text><text y=\"-12\">{} token requests, {} in the \
         busiest minute</text>",
        figures.scenario.title(),
        thousands(figures.total()),
        thousands(minutes.iter().copied().max().unwrap_or(0).into()),
    );
    for decade in 0..=scale.most.log10() as u32 {
        let value = 10_u64.pow(decade);
        let y = scale.y(value as f64);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M0 {y:.1}h{WIDTH}\"/><text class=\"end\" x=\"-6\" \
             y=\"{:.1}\">{}</text>",
            y + 4.0,
            thousands(value),
        );
    }
    let x = |time: Duration| time.as_secs_f64() / plan.length().as_secs_f64() * WIDTH as f64;
    let (from, to) = (x(plan.outage.start), x(plan.outage.end.min(plan.length())));
    let _ = writeln!(
        svg,
        "<rect class=\"outage\" x=\"{from:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\"/>\
         <path class=\"revoked\" d=\"M{:.1} 0v{HEIGHT}\"/>",
        (to - from).max(0.0),
        x(plan.revoked),
    );
    let class = if figures.scenario.is_ours() { "ours" } else { "theirs" };
    let _ = writeln!(svg, "<path class=\"{class}\" d=\"{}\"/>", columns(plan, &minutes, scale));
    let _ = writeln!(svg, "<path class=\"axis\" d=\"M0 0V{HEIGHT}H{WIDTH}\"/>");
    let step = plan.hours.div_ceil(24).max(1) * if plan.hours >= 12 { 4 } else { 1 };
    for hour in (0..=plan.hours).step_by(step as usize) {
        let x = x(Duration::from_secs(3600 * u64::from(hour)));
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{x:.1} {HEIGHT}v4\"/><text class=\"mid\" x=\"{x:.1}\" \
             y=\"{}\">{hour}</text>",
            HEIGHT + 17,
        );
    }
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
