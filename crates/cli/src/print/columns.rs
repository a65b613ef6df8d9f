//! Words in columns, set as Go's tabwriter sets them.

/// How wide columns are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    least: usize,
    gap: usize,
}

/// As `get` prints tables.
pub(crate) const TABLE: Columns = Columns { least: 6, gap: 3 };
/// As `describe` prints fields.
pub(crate) const FIELDS: Columns = Columns { least: 0, gap: 2 };
/// As `top` prints usage.
pub(crate) const USAGE: Columns = Columns { least: 6, gap: 3 };

impl Columns {
    /// Puts spaces in place of the tabs of the text. A column is as wide as the widest of those of its cells that stand below each
    /// other, each ended by a tab.
    pub(crate) fn set(self, text: &str) -> String {
        let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
        let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
        for column in 0..lines.iter().map(Vec::len).max().unwrap_or(0) {
            let mut start = 0;
            while start < lines.len() {
                let has = |line: &Vec<&str>| line.len() > column + 1;
                let block = lines[start..].iter().take_while(|line| has(line)).count();
                let cells = lines[start..start + block].iter().map(|line| line[column].chars().count());
                let width = (cells.max().unwrap_or(0) + self.gap).max(self.least);
                widths[start..start + block].iter_mut().for_each(|line| line[column] = width);
                start += block.max(1);
            }
        }
        let mut set = String::new();
        for (number, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
            if number > 0 {
                set.push('\n');
            }
            for (cell, width) in cells.iter().zip(widths) {
                set.push_str(&format!("{cell:<width$}"));
            }
        }
        set
    }

    /// Rows of cells, one a line.
    pub(crate) fn rows(self, rows: &[Vec<String>]) -> String {
        let text: String = rows.iter().map(|row| row.join("\t") + "\n").collect();
        self.set(&text)
    }
}

/// A row of a table.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_the_cells_below_each_other() {
        let rows = [row(["NAME", "UP", "AGE"]), row(["a-long-name", "1", "5s"])];
        assert_eq!(TABLE.rows(&rows), "NAME          UP    AGE\na-long-name   1     5s\n");
        assert_eq!(FIELDS.rows(&rows), "NAME         UP  AGE\na-long-name  1   5s\n");
        let text = "Name:\tx\nLabels:\ta=b\nno column\nA much longer name:\ty\n";
        assert_eq!(FIELDS.set(text), "Name:    x\nLabels:  a=b\nno column\nA much longer name:  y\n");
    }
}
