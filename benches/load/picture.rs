//! Draws lines in one panel per stack, all on the same scale.

use std::fmt::Write;

/// The width of the picture. Pages scale it down: the smallest text is still legible on a phone.
const PAGE: f64 = 440.0;
/// The distance of texts from the picture's edge.
const EDGE: f64 = 14.0;
/// The size of the plot within a panel.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 150.0;
/// The margins for the axis on the left, the name above, and the axis below.
const LEFT: f64 = 62.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 30.0;
/// The height above the legend.
const HEAD: f64 = 40.0;
/// The height of a line of text.
const LINE: f64 = 18.0;

/// Colours for light and dark pages. A picture that is a file follows the reader's preference, and
/// has its own background. In a page of rustdoc it follows the theme of the page.
const STYLE: &str = "\
.bench{--ground:#fff;--ink:#1f2328;--soft:#57606a;--grid:#d8dee4;--axis:#8c959f;--c0:#57606a;\
--c1:#0969da;--c3:#0f766e;--c4:#8250df;--c5:#b45309;\
font:13px system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\
.bench text{fill:var(--soft)}\
.bench .ground{fill:var(--ground)}\
.bench .title{font-size:16px;font-weight:600;fill:var(--ink)}\
.bench .name{font-size:14px;font-weight:600;fill:var(--ink)}\
.bench .end{text-anchor:end}\
.bench .mid{text-anchor:middle}\
.bench .grid{stroke:var(--grid);fill:none}\
.bench .axis{stroke:var(--axis);fill:none}\
.bench .line{fill:none;stroke-width:1.6;stroke-linejoin:round}\
.bench .c0{stroke:var(--c0)}\
.bench .c1{stroke:var(--c1)}\
.bench .c2{stroke:var(--c0);stroke-dasharray:4 3}\
.bench .c3{stroke:var(--c3);stroke-width:2.2}\
.bench .c4{stroke:var(--c4)}\
.bench .c5{stroke:var(--c5)}\
@media (prefers-color-scheme:dark){.bench:root{--ground:#0d1117;--ink:#f0f6fc;--soft:#b1bac4;\
--grid:#2a313a;--axis:#8b949e;--c0:#9198a1;--c1:#58a6ff;--c3:#2dd4bf;--c4:#d2a8ff;--c5:#f0a04b}}\
html[data-theme=dark] .bench,html[data-theme=ayu] .bench{--ink:#f0f6fc;--soft:#c3cbd4;\
--grid:#555c64;--axis:#a0a8b1;--c0:#b0b7bf;--c1:#58a6ff;--c3:#2dd4bf;--c4:#d2a8ff;--c5:#f0a04b}\
html[data-theme] .bench .ground{display:none}";

pub struct Axis {
    pub from: f64,
    pub to: f64,
    pub ticks: Vec<(f64, String)>,
}

pub struct Panel<'a> {
    pub name: String,
    pub x: &'a Axis,
    pub y: &'a Axis,
    pub series: Vec<Series>,
}

pub struct Series {
    /// The number of the colour, and of the name in the legend.
    pub colour: usize,
    pub points: Vec<(f64, f64)>,
}

impl Axis {
    /// Returns the position of a value on the axis, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// Draws the panels. `results` says in words what they show, for readers who cannot see them.
pub fn draw(
    title: &str,
    results: &str,
    notes: &[&str],
    legend: &[&str],
    panels: &[Panel<'_>],
) -> String {
    let head = HEAD + LINE * legend.len() as f64;
    let panel = ABOVE + HEIGHT + BELOW;
    let foot = head + panel * panels.len() as f64 + LINE;
    let height = foot + LINE * notes.len() as f64;
    // The ids are unique, because two pictures may be on one page.
    let id = title.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "-");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"bench\" \
         viewBox=\"0 0 {PAGE} {height}\" width=\"520\" style=\"max-width:100%\" role=\"img\" \
         aria-labelledby=\"{id} {id}-notes\">\n\
         <title id=\"{id}\">{title}</title>\n<desc id=\"{id}-notes\">{} {results}</desc>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{PAGE}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"{EDGE}\" y=\"28\">{title}</text>\n",
        notes.join(" "),
    );
    for (n, name) in legend.iter().enumerate() {
        let y = HEAD + LINE * n as f64 + 12.0;
        let _ = writeln!(
            svg,
            "<path class=\"line c{n}\" d=\"M{EDGE} {}h24\"/><text x=\"{}\" y=\"{y}\">{name}</text>",
            y - 4.0,
            EDGE + 32.0,
        );
    }
    for (n, one) in panels.iter().enumerate() {
        let y = head + panel * n as f64 + ABOVE;
        let _ = writeln!(svg, "<g transform=\"translate({LEFT} {y})\">");
        one.draw(&mut svg);
        svg += "</g>\n";
    }
    for (n, note) in notes.iter().enumerate() {
        let y = foot + LINE * n as f64;
        let _ = writeln!(svg, "<text x=\"{EDGE}\" y=\"{y}\">{note}</text>");
    }
    svg += "</svg>\n";
    svg
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String) {
        let x = |value| WIDTH * self.x.part(value);
        let y = |value| HEIGHT * (1.0 - self.y.part(value));
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{}\" y=\"-12\">{}</text>",
            EDGE - LEFT,
            self.name
        );
        for (value, text) in &self.y.ticks {
            let y = y(*value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M0 {y:.1}h{WIDTH}\"/>\
                 <text class=\"end\" x=\"-6\" y=\"{:.1}\">{text}</text>",
                y + 4.5,
            );
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M0 0V{HEIGHT}H{WIDTH}\"/>");
        for (value, text) in &self.x.ticks {
            let x = x(*value);
            let _ = writeln!(
                svg,
                "<path class=\"axis\" d=\"M{x:.1} {HEIGHT}v4\"/>\
                 <text class=\"mid\" x=\"{x:.1}\" y=\"{}\">{text}</text>",
                HEIGHT + 18.0,
            );
        }
        for Series { colour, points } in &self.series {
            let points: Vec<_> = points
                .iter()
                .map(|(at, value)| format!("{:.1} {:.1}", x(*at), y(*value)))
                .collect();
            let _ = writeln!(svg, "<path class=\"line c{colour}\" d=\"M{}\"/>", points.join("L"));
        }
    }
}
