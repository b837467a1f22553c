//! Tables that line up and, on a terminal, fit it.

use std::fmt::Write as _;

/// What stands between two columns.
const GAP: usize = 2;
/// No column is made narrower than this as long as another one is wider.
const NARROW: usize = 6;
/// What stands for what was cut out.
const CUT: char = '…';

/// Rows of text in columns that line up.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Renders the rows, each line after `indent`, and none longer than `width`.
    ///
    /// What is too wide is cut in the middle of its cells, the widest column first: of a path or a
    /// package both ends say more than the middle.
    pub fn render(&self, indent: &str, width: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| visible_width(cell)).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..columns).map(widest).collect();
        if let Some(width) = width {
            shrink(&mut widths, width.saturating_sub(indent.len()));
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (index, cell) in row.iter().enumerate() {
                let cell = cut(cell, widths[index]);
                line.push_str(&cell);
                if index + 1 < row.len() {
                    let pad = widths[index].saturating_sub(visible_width(&cell)) + GAP;
                    line.extend(std::iter::repeat_n(' ', pad));
                }
            }
            let line = match width {
                Some(width) => cut_end(line.trim_end(), width),
                None => line.trim_end().to_owned(),
            };
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// Makes columns narrower until all of them fit, the widest first.
fn shrink(widths: &mut [usize], room: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        let Some(widest) = widths.iter_mut().rev().max_by_key(|width| **width) else { return };
        if *widest <= NARROW {
            return;
        }
        *widest -= 1;
    }
}

/// A piece of a cell: an escape sequence, or a character.
enum Piece<'a> {
    Escape(&'a str),
    Char(char),
}

fn pieces(cell: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = cell;
    while let Some(c) = rest.chars().next() {
        let len = match (c, rest.find('m')) {
            ('\x1b', Some(end)) => {
                pieces.push(Piece::Escape(&rest[..=end]));
                end + 1
            }
            _ => {
                pieces.push(Piece::Char(c));
                c.len_utf8()
            }
        };
        rest = &rest[len..];
    }
    pieces
}

/// How many columns a cell takes: escape sequences take none.
fn visible_width(cell: &str) -> usize {
    pieces(cell).iter().filter(|piece| matches!(piece, Piece::Char(_))).count()
}

/// Takes the middle out of a cell that is wider than `width`; colours stay.
fn cut(cell: &str, width: usize) -> String {
    let all = visible_width(cell);
    if all <= width {
        return cell.to_owned();
    }
    // The end is the longer half: versions and file names are there.
    let head = width.saturating_sub(1) / 2;
    keep(cell, |at| match at {
        at if at < head => Some(true),
        at if at == head => Some(false),
        at => (at + width > all + head).then_some(true),
    })
}

/// Takes the end off a line that is longer than `width`; colours stay.
pub fn cut_end(line: &str, width: usize) -> String {
    if visible_width(line) <= width {
        return line.to_owned();
    }
    keep(line, |at| match at {
        at if at + 1 < width => Some(true),
        at if at + 1 == width => Some(false),
        _ => None,
    })
}

/// Keeps the characters for which `what` says so; `Some(false)` is where the cut is shown.
fn keep(text: &str, what: impl Fn(usize) -> Option<bool>) -> String {
    let mut kept = String::new();
    let mut at = 0;
    for piece in pieces(text) {
        match piece {
            Piece::Escape(escape) => kept.push_str(escape),
            Piece::Char(c) => {
                match what(at) {
                    Some(true) => kept.push(c),
                    Some(false) => kept.push(CUT),
                    None => {}
                }
                at += 1;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_under_colour() {
        let mut table = Table::default();
        table.row(["a", "b"]);
        table.row(["\x1b[1mlong\x1b[0m", "c"]);
        assert_eq!(table.render("  ", None), "  a     b\n  \x1b[1mlong\x1b[0m  c\n");
    }

    #[test]
    fn what_is_too_wide_loses_its_middle() {
        for (cell, width, shown) in [
            ("kernel-core-5.14.0-570.el9.x86_64", 33, "kernel-core-5.14.0-570.el9.x86_64"),
            ("kernel-core-5.14.0-570.el9.x86_64", 20, "kernel-co…el9.x86_64"),
            ("\x1b[31mabcdefgh\x1b[0m", 5, "\x1b[31mab…gh\x1b[0m"),
            ("abcdefgh", 1, "…"),
            ("äöüßäöüß", 4, "ä…üß"),
        ] {
            assert_eq!(cut(cell, width), shown, "{cell} {width}");
        }
    }

    #[test]
    fn a_table_is_never_wider_than_the_terminal_and_is_whole_without_one() {
        let long = "staging/sig/9/a-special-interest-group-with-a-long-name";
        let nevra = "a-package-with-a-long-name-1:20251101.0-0.1.rc2.git1234567.el9_7.x86_64";
        let mut table = Table::default();
        table.row(["ref", "snapshot", "files", "package", ""]);
        table.row([long, "0123abcd", "1,234", nevra, "\x1b[32mlive\x1b[0m"]);
        let whole = table.render("  ", None);
        assert!(whole.contains(long) && whole.contains(nevra));
        for width in [0, 1, 10, 40, 60, 80, 100, 200] {
            let text = table.render("  ", Some(width));
            for line in text.lines() {
                assert!(visible_width(line) <= width, "{width}: {line:?}");
            }
            if width >= 60 {
                assert!(text.contains("0123abcd  1,234") && text.contains("live"), "{text}");
            }
            if width >= 200 {
                assert_eq!(text, whole);
            }
        }
    }
}
