//! The figures that tell most, as a picture for the README.

use std::fmt::Write;

use crate::goals::DELAYED_CALLERS;
use crate::operation::Operation;
use crate::payload::Payload;
use crate::results::{Figure, Results, Setting};

/// Who is drawn, and in which colour. The floors are left out: nobody would use them.
const DRAWN: [(&str, &str); 6] = [
    ("cloakroom", "#1b6ca8"),
    ("several commands", "#e08e45"),
    ("tower-sessions", "#7d8ca3"),
    ("axum_session", "#b9a37e"),
    ("actix-session", "#8fae7b"),
    ("connect-redis", "#b48ead"),
];

const PANEL: usize = 440;
const NAMES: usize = 100;
/// Of the longest bar. What is right of it is for its figure.
const LONGEST: f64 = 270.0;
const BAR: usize = 11;
const GAP: usize = 8;
const HEAD: usize = 66;

struct Panel {
    title: &'static str,
    setting: Setting,
    figure: fn(&Figure) -> f64,
    decimals: usize,
}

/// The whole picture, as SVG.
pub(crate) fn draw(results: &Results) -> String {
    let payload = Payload::SMALL;
    let panels = [
        Panel {
            title: "milliseconds of a call, median, network of 0.5 ms each way (shorter is better)",
            setting: Setting { payload, callers: DELAYED_CALLERS, is_delayed: true },
            figure: |figure| figure.percentile(50.0) / 1000.0,
            decimals: 1,
        },
        Panel {
            title: "operations per second of one server core, 256 callers (longer is better)",
            setting: Setting { payload, callers: 256, is_delayed: false },
            figure: Figure::a_core_second,
            decimals: 0,
        },
    ];
    let (mut bars, mut height) = (String::new(), 0);
    for (at, panel) in panels.iter().enumerate() {
        height = height.max(draw_panel(&mut bars, results, panel, at * PANEL + 10));
    }
    let width = panels.len() * PANEL + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (at, (name, colour)) in DRAWN.iter().enumerate() {
        let x = 10 + at * 145;
        bar(&mut svg, x, 12, 12.0, colour);
        text(&mut svg, x + 18, 12, "start", name);
    }
    svg + &bars + "</svg>\n"
}

/// Returns where it ends.
fn draw_panel(svg: &mut String, results: &Results, panel: &Panel, left: usize) -> usize {
    let of = |who, operation| results.find(who, operation, panel.setting).map(panel.figure);
    let figures = |operation| {
        DRAWN.iter().filter_map(move |(who, colour)| Some((*colour, of(who, operation)?))).collect::<Vec<_>>()
    };
    let all = Operation::SINGLE.into_iter().flat_map(figures);
    let largest = all.map(|(_, figure)| figure).fold(f64::MIN_POSITIVE, f64::max);
    text(svg, left, HEAD - 20, "start", panel.title);
    let mut y = HEAD;
    for operation in Operation::SINGLE {
        text(svg, left + NAMES - 6, y, "end", operation.name());
        for (colour, figure) in figures(operation) {
            let length = figure / largest * LONGEST;
            bar(svg, left + NAMES, y, length, colour);
            text(
                svg,
                left + NAMES + length as usize + 4,
                y,
                "start",
                &format!("{figure:.0$}", panel.decimals),
            );
            y += BAR + 1;
        }
        y += GAP;
    }
    y
}

fn bar(svg: &mut String, x: usize, y: usize, length: f64, colour: &str) {
    writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>")
        .unwrap();
}

/// Beside a bar at the same height.
fn text(svg: &mut String, x: usize, y: usize, anchor: &str, words: &str) {
    let y = y + BAR - 2;
    writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"#222\">{words}</text>").unwrap();
}
