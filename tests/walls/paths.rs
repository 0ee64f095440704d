//! Which rooms and crates a source file names: a small lexer that ignores comments and string literals.

use std::path::Path;

/// Where a path begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// In a room of this crate; `*` is all of them.
    Room(String),
    /// In a crate, or in a local item of that name.
    Crate(String),
}

/// A path in the code.
#[derive(Debug, PartialEq, Eq)]
pub struct Used {
    /// The line, counted from 1.
    pub line: usize,
    /// Where it leads.
    pub target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Sep,
    Mark(char),
}

/// All paths of a file that lead out of its module.
pub fn paths(path: &Path, text: &str) -> Vec<Used> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    // How many `super` lead to the crate's root: the file's module, and modules within it, by their braces.
    let file = path.with_extension("");
    let index = file.ends_with("mod") || file.ends_with("lib") || file.ends_with("main");
    let depth = file.iter().count() - usize::from(index);
    let mut modules = Vec::new();
    let mut braces = 0;
    for at in 0..tokens.len() {
        let (line, token) = &tokens[at];
        let name = match token {
            Token::Mark('{') => {
                braces += 1;
                let is_module = at >= 2 && is_word(&tokens, at - 2, "mod");
                if is_module {
                    modules.push(braces);
                }
                continue;
            }
            Token::Mark('}') => {
                modules.retain(|opened| *opened < braces);
                braces -= 1;
                continue;
            }
            Token::Sep | Token::Mark(_) => continue,
            Token::Word(name) => name.as_str(),
        };
        if continues(&tokens, at) {
            continue;
        }
        let mut used = |target| {
            found.push(Used {
                line: *line,
                target,
            })
        };
        let leads_on = is(&tokens, at + 1, &Token::Sep);
        match name {
            "crate" | "directway" if leads_on => {
                rooms(&tokens, at + 2)
                    .into_iter()
                    .for_each(|it| used(Target::Room(it)));
            }
            "super" if leads_on => {
                let mut end = at;
                while is_word(&tokens, end, "super") && is(&tokens, end + 1, &Token::Sep) {
                    end += 2;
                }
                if (end - at) / 2 >= depth + modules.len() {
                    rooms(&tokens, end)
                        .into_iter()
                        .for_each(|it| used(Target::Room(it)));
                }
            }
            _ if leads_on || (at > 0 && is_word(&tokens, at - 1, "use")) => {
                used(Target::Crate(name.to_owned()));
            }
            _ => {}
        }
    }
    found
}

/// Whether the word is not the first of its path. A leading `::` begins one.
fn continues(tokens: &[(usize, Token)], at: usize) -> bool {
    at >= 2
        && tokens[at - 1].1 == Token::Sep
        && match &tokens[at - 2].1 {
            Token::Word(word) => word != "use",
            Token::Mark(mark) => *mark == '>',
            Token::Sep => false,
        }
}

/// The first words of what follows `crate::`: one, or those of a group.
fn rooms(tokens: &[(usize, Token)], at: usize) -> Vec<String> {
    match tokens.get(at).map(|(_, token)| token) {
        Some(Token::Word(name)) => vec![name.clone()],
        Some(Token::Mark('{')) => {
            let mut found = Vec::new();
            let (mut depth, mut first) = (0, true);
            for (_, token) in &tokens[at..] {
                match token {
                    Token::Mark('{') => depth += 1,
                    Token::Mark('}') if depth == 1 => break,
                    Token::Mark('}') => depth -= 1,
                    Token::Mark(',') if depth == 1 => first = true,
                    Token::Word(name) if depth == 1 && first => {
                        found.push(name.clone());
                        first = false;
                    }
                    Token::Mark('*') if depth == 1 && first => found.push("*".to_owned()),
                    Token::Word(_) | Token::Sep | Token::Mark(_) => {}
                }
            }
            found
        }
        Some(Token::Mark('*')) => vec!["*".to_owned()],
        Some(Token::Mark(_) | Token::Sep) | None => Vec::new(),
    }
}

fn is(tokens: &[(usize, Token)], at: usize, expected: &Token) -> bool {
    tokens.get(at).is_some_and(|(_, token)| token == expected)
}

fn is_word(tokens: &[(usize, Token)], at: usize, expected: &str) -> bool {
    matches!(tokens.get(at), Some((_, Token::Word(word))) if word == expected)
}

/// Words and marks with their lines; comments, string and character literals and lifetimes are left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let begin = at;
        match get(at) {
            '/' if get(at + 1) == '/' => at += until(&chars[at..], '\n'),
            '/' if get(at + 1) == '*' => at = comment_end(&chars, at),
            '"' => at = text_end(&chars, at + 1),
            'r' if get(at + 1) == '"'
                || (get(at + 1) == '#' && matches!(get(at + 2), '#' | '"')) =>
            {
                at = raw_end(&chars, at + 1);
            }
            '\'' if get(at + 1) == '\\' => at += 3 + until(&chars[at + 3..], '\'') + 1,
            '\'' if get(at + 2) == '\'' => at += 3,
            ':' if get(at + 1) == ':' => {
                found.push((line, Token::Sep));
                at += 2;
            }
            it if it == '_' || it.is_alphanumeric() => {
                while get(at) == '_' || get(at).is_alphanumeric() {
                    at += 1;
                }
                // A string literal with a prefix, as in b"…" and br"…".
                let word: String = chars[begin..at].iter().collect();
                match word.as_str() {
                    "br" if get(at) == '"' || get(at) == '#' => at = raw_end(&chars, at),
                    _ => found.push((line, Token::Word(word))),
                }
            }
            it => {
                if !it.is_whitespace() {
                    found.push((line, Token::Mark(it)));
                }
                at += 1;
            }
        }
        line += chars[begin..at.min(chars.len())]
            .iter()
            .filter(|it| **it == '\n')
            .count();
    }
    found
}

fn until(chars: &[char], end: char) -> usize {
    chars
        .iter()
        .position(|it| *it == end)
        .unwrap_or(chars.len())
}

fn text_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `at` is behind the `r`.
fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at..].iter().take_while(|it| **it == '#').count();
    let mut end = at + hashes + 1;
    while end < chars.len() {
        let rest = &chars[end + 1..];
        if chars[end] == '"' && rest.iter().take(hashes).filter(|it| **it == '#').count() == hashes
        {
            return end + 1 + hashes;
        }
        end += 1;
    }
    end
}

/// The end of a block comment; comments nest.
fn comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        let two = (chars[at], chars.get(at + 1).copied().unwrap_or('\0'));
        match two {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}
