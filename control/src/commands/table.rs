//! Plain tables for people: columns padded to their widest cell, no frames, so that `awk` can read
//! them too.

/// Lays out rows under a heading. An absent cell is shown as `-`.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[Option<String>; N]]) -> String {
    let shown = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".to_owned());
    let lines: Vec<[String; N]> = std::iter::once(heading.map(str::to_owned))
        .chain(
            rows.iter().map(|row| std::array::from_fn(|column| row.get(column).map_or(String::new(), shown))),
        )
        .collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [[Some("key_1".to_owned()), None], [Some("k".to_owned()), Some("x".to_owned())]];
        assert_eq!(table(["ID", "REVOKED"], &rows), "ID     REVOKED\nkey_1  -\nk      x");
    }
}
