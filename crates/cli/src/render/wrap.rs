//! Wrapping of words under a hanging indent.

/// `words` broken into lines of at most `width`, of which all but the first begin with `indent` blanks; `head` stands
/// before the first and has that width, whatever escapes it contains. A longer word is left whole.
pub(super) fn hanging(head: &str, indent: usize, words: &str, width: usize) -> String {
    let room = width.saturating_sub(indent).max(20);
    let mut lines: Vec<String> = vec![String::new()];
    for word in words.split(' ') {
        let last = lines.len() - 1;
        let used = lines[last].chars().count();
        if used > 0 && used + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
        } else {
            if used > 0 {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    format!("{head}{}\n", lines.join(&format!("\n{:indent$}", "")))
}
