//! The outcomes, side by side.

use crate::Result;
use crate::contender::{Contender, Outcomes};

const WIDTHS: [usize; 6] = [16, 19, 19, 21, 18, 19];

const RACES: [&str; 4] = [
    "a slow request saves during a logout",
    "two logins at a limit of one session",
    "a process is killed in a logout",
    "an old socket closes late",
];

/// A contender and what became of each race.
pub(crate) struct Column {
    heading: String,
    cells: [String; RACES.len()],
}

impl Column {
    pub(crate) fn of(contender: &impl Contender, outcomes: &Outcomes) -> Result<Self> {
        let Outcomes { slow_save, two_logins, crash, late_close } = outcomes;
        let cells =
            [slow_save.to_string(), two_logins.to_string(), crash.to_string(), late_close.to_string()];
        Ok(Self { heading: contender.name()?, cells })
    }

    /// One that could not run.
    pub(crate) fn left_out(heading: String, reason: &str) -> Self {
        Self { heading, cells: RACES.map(|_| reason.to_owned()) }
    }
}

/// One row per race, one column per contender.
pub(crate) fn draw(columns: &[Column]) -> String {
    let mut drawn = row("", columns.iter().map(|column| column.heading.as_str()));
    for (number, race) in RACES.iter().enumerate() {
        drawn += &WIDTHS.map(|width| "-".repeat(width)).join("-+-");
        drawn.push('\n');
        drawn += &row(race, columns.iter().map(|column| column.cells[number].as_str()));
    }
    drawn
}

fn row<'a>(race: &'a str, cells: impl Iterator<Item = &'a str>) -> String {
    let cells: Vec<_> = std::iter::once(race).chain(cells).zip(WIDTHS).collect();
    let cells: Vec<_> = cells.into_iter().map(|(text, width)| (wrapped(text, width), width)).collect();
    let height = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or_default();
    let mut drawn = String::new();
    for number in 0..height {
        let line: Vec<_> = cells
            .iter()
            .map(|(lines, width)| format!("{:width$}", lines.get(number).map_or("", String::as_str)))
            .collect();
        drawn += line.join(" | ").trim_end();
        drawn.push('\n');
    }
    drawn
}

/// A text in lines that are no wider, if its words are not.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > width {
                wrapped.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        wrapped.push(line);
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one\ntwo", 7), ["one", "two"]);
        assert_eq!(wrapped("longer", 3), ["longer"]);
    }
}
