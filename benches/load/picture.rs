//! Draws lines in one panel per stack, all on the same scale.

use std::fmt::Write;

const COLUMNS: usize = 2;
/// The size of the plot within a panel.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 200.0;
/// The margins for the axis on the left, the name above, and the axis below.
const LEFT: f64 = 56.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 30.0;
const RIGHT: f64 = 16.0;
const HEAD: f64 = 50.0;
const FOOT: f64 = 30.0;

/// Colours for light and dark pages, each with its own background.
const STYLE: &str = "\
.bench text{font-family:system-ui,sans-serif;font-size:11px;fill:#57606a}\
.bench .ground{fill:#fff}\
.bench .title{font-size:16px;font-weight:600;fill:#1f2328}\
.bench .name{font-size:12.5px;font-weight:600;fill:#1f2328}\
.bench .end{text-anchor:end}\
.bench .mid{text-anchor:middle}\
.bench .grid{stroke:#d8dee4;fill:none}\
.bench .axis{stroke:#8c959f;fill:none}\
.bench .line{fill:none;stroke-width:1.6;stroke-linejoin:round}\
.bench .c0{stroke:#57606a}\
.bench .c1{stroke:#0969da}\
.bench .c2{stroke:#57606a;stroke-dasharray:4 3}\
.bench .c3{stroke:#0f766e;stroke-width:2.2}\
.bench .c4{stroke:#8250df}\
.bench .c5{stroke:#b45309}\
@media (prefers-color-scheme:dark){\
.bench text{fill:#9198a1}\
.bench .ground{fill:#0d1117}\
.bench .title,.bench .name{fill:#f0f6fc}\
.bench .grid{stroke:#262c36}\
.bench .axis{stroke:#656c76}\
.bench .c0,.bench .c2{stroke:#9198a1}\
.bench .c1{stroke:#4493f8}\
.bench .c3{stroke:#2dd4bf}\
.bench .c4{stroke:#d2a8ff}\
.bench .c5{stroke:#f0a04b}}";

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

pub fn draw(title: &str, note: &str, legend: &[&str], panels: &[Panel<'_>]) -> String {
    let rows = panels.len().div_ceil(COLUMNS) as f64;
    let legend_rows = legend.len().div_ceil(3) as f64;
    let head = HEAD + 18.0 * legend_rows;
    let width = COLUMNS as f64 * (LEFT + WIDTH + RIGHT);
    let height = head + rows * (ABOVE + HEIGHT + BELOW) + FOOT;
    // The ids are unique, because two pictures may be on one page.
    let id = title.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "-");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"bench\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"{id}\">\n\
         <title id=\"{id}\">{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"30\">{title}</text>\n",
    );
    for (n, name) in legend.iter().enumerate() {
        let (x, y) = (LEFT + (n % 3) as f64 * 260.0, HEAD + (n / 3) as f64 * 18.0);
        let _ = writeln!(
            svg,
            "<path class=\"line c{n}\" d=\"M{x} {y}h24\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            x + 30.0,
            y + 4.0,
        );
    }
    for (n, panel) in panels.iter().enumerate() {
        let x = LEFT + (n % COLUMNS) as f64 * (LEFT + WIDTH + RIGHT);
        let y = head + ABOVE + (n / COLUMNS) as f64 * (ABOVE + HEIGHT + BELOW);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel.draw(&mut svg);
        svg += "</g>\n";
    }
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\">{note}</text>", height - 14.0);
    svg += "</svg>\n";
    svg
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String) {
        let x = |value| WIDTH * self.x.part(value);
        let y = |value| HEIGHT * (1.0 - self.y.part(value));
        let _ = writeln!(svg, "<text class=\"name\" y=\"-12\">{}</text>", self.name);
        for (value, text) in &self.y.ticks {
            let y = y(*value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M0 {y:.1}h{WIDTH}\"/>\
                 <text class=\"end\" x=\"-6\" y=\"{:.1}\">{text}</text>",
                y + 4.0,
            );
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M0 0V{HEIGHT}H{WIDTH}\"/>");
        for (value, text) in &self.x.ticks {
            let x = x(*value);
            let _ = writeln!(
                svg,
                "<path class=\"axis\" d=\"M{x:.1} {HEIGHT}v4\"/>\
                 <text class=\"mid\" x=\"{x:.1}\" y=\"{}\">{text}</text>",
                HEIGHT + 17.0,
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
