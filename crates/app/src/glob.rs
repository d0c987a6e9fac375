//! Globs as AppProjects have them: `*`, `**`, `?`, `[a-z]` and `{a,b}`, with or without a separator.
//!
//! Ours, because `**` may stand anywhere in them (`https://host/team-**`), which `globset` does not do when `*`
//! must stop at a `/`. Matching takes time of pattern times text and no recursion, whatever the pattern.

/// A pattern longer than this is refused: the longest address that works anywhere has 2,048 characters.
const LONGEST: usize = 2048;

/// `{a,b}` thrice nested side by side makes more patterns than anybody means.
const MOST_ALTERNATIVES: usize = 64;

/// A compiled glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    alternatives: Vec<Vec<Token>>,
    separator: Option<char>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    One(char),
    Any,
    Within,
    Across,
    Class {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

/// The text is no glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAGlob {
    #[error("the pattern is longer than {LONGEST} characters")]
    TooLong,
    #[error("the pattern has more than {MOST_ALTERNATIVES} alternatives")]
    TooMany,
    #[error("the pattern has a `{0}` that is not closed")]
    Open(char),
}

impl Glob {
    /// Compiles a pattern; with a separator, `*` and `?` stop at it and `**` does not.
    pub(crate) fn new(pattern: &str, separator: Option<char>) -> Result<Self, NotAGlob> {
        if pattern.len() > LONGEST {
            return Err(NotAGlob::TooLong);
        }
        // `*` alone is everything, whatever the separator: Argo CD's own exception.
        if pattern == "*" {
            return Ok(Self {
                alternatives: vec![vec![Token::Across]],
                separator,
            });
        }
        let alternatives = expand(pattern)?
            .iter()
            .map(|text| tokens(text))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            alternatives,
            separator,
        })
    }

    /// Does the whole text match?
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.alternatives
            .iter()
            .any(|tokens| self.run(tokens, text))
    }

    /// `at[i]` says whether the text read so far can have used up the first `i` tokens.
    fn run(&self, tokens: &[Token], text: &str) -> bool {
        let mut at = vec![false; tokens.len() + 1];
        if let Some(start) = at.first_mut() {
            *start = true;
        }
        skip_stars(tokens, &mut at);
        for c in text.chars() {
            let mut next = vec![false; tokens.len() + 1];
            for (i, token) in tokens.iter().enumerate() {
                if at.get(i) != Some(&true) {
                    continue;
                }
                let separates = Some(c) == self.separator;
                let (taken, stays) = match token {
                    Token::One(one) => (*one == c, false),
                    Token::Any => (!separates, false),
                    Token::Class { not, ranges } => {
                        let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                        (inside != *not && !separates, false)
                    }
                    Token::Within => (false, !separates),
                    Token::Across => (false, true),
                };
                for (index, yes) in [(i + 1, taken), (i, stays)] {
                    if let Some(slot) = next.get_mut(index) {
                        *slot |= yes;
                    }
                }
            }
            skip_stars(tokens, &mut next);
            at = next;
        }
        at.last() == Some(&true)
    }
}

/// A star may be done before it took anything.
fn skip_stars(tokens: &[Token], at: &mut [bool]) {
    for (i, token) in tokens.iter().enumerate() {
        if matches!(token, Token::Within | Token::Across)
            && at.get(i) == Some(&true)
            && let Some(next) = at.get_mut(i + 1)
        {
            *next = true;
        }
    }
}

/// `a{b,c}d` as `abd` and `acd`, innermost first, until no braces are left.
fn expand(pattern: &str) -> Result<Vec<String>, NotAGlob> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(text) = open.pop() {
        let Some(close) = text.find('}') else {
            if text.contains('{') {
                return Err(NotAGlob::Open('{'));
            }
            done.push(text);
            continue;
        };
        let Some(start) = text.get(..close).and_then(|head| head.rfind('{')) else {
            return Err(NotAGlob::Open('}'));
        };
        let inner = text.get(start + 1..close).unwrap_or_default();
        let (head, tail) = (text.get(..start).unwrap_or_default(), text.get(close + 1..));
        for choice in inner.split(',') {
            open.push(format!("{head}{choice}{}", tail.unwrap_or_default()));
        }
        if open.len() + done.len() > MOST_ALTERNATIVES {
            return Err(NotAGlob::TooMany);
        }
    }
    Ok(done)
}

fn tokens(text: &str) -> Result<Vec<Token>, NotAGlob> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '\\' => Token::One(rest.next().unwrap_or('\\')),
            '?' => Token::Any,
            '*' => {
                let mut star = Token::Within;
                while rest.next_if_eq(&'*').is_some() {
                    star = Token::Across;
                }
                star
            }
            '[' => {
                let not = rest.next_if(|c| *c == '!' || *c == '^').is_some();
                let mut ranges = Vec::new();
                loop {
                    let from = match rest.next() {
                        None => return Err(NotAGlob::Open('[')),
                        Some(']') if !ranges.is_empty() => break,
                        Some(from) => from,
                    };
                    let to = if rest.next_if_eq(&'-').is_some() {
                        match rest.next() {
                            None => return Err(NotAGlob::Open('[')),
                            Some(']') => {
                                ranges.extend([(from, from), ('-', '-')]);
                                break;
                            }
                            Some(to) => to,
                        }
                    } else {
                        from
                    };
                    ranges.push((from, to));
                }
                Token::Class { not, ranges }
            }
            c => Token::One(c),
        });
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str, separator: Option<char>) -> bool {
        Glob::new(pattern, separator).expect("a glob").matches(text)
    }

    #[test]
    fn a_star_stops_at_the_separator_and_two_stars_do_not() {
        let slash = Some('/');
        assert!(matches("https://host/*", "https://host/a", slash));
        assert!(!matches("https://host/*", "https://host/a/b", slash));
        assert!(matches("https://host/**", "https://host/a/b", slash));
        assert!(matches(
            "https://host/team-**",
            "https://host/team-a/b",
            slash
        ));
        assert!(matches("*", "https://host/a/b", slash));
        assert!(matches("https://*", "https://host/a/b", None));
        assert!(!matches("a?b", "a/b", slash));
        assert!(matches("a?b", "a/b", None));
    }

    #[test]
    fn classes_and_alternatives_match_one_of_theirs() {
        assert!(matches("team-[a-c]", "team-b", None));
        assert!(!matches("team-[!a-c]", "team-b", None));
        assert!(matches("{dev,prod}-*", "prod-x", None));
        assert!(matches("{a,b{c,d}}", "bd", None));
        assert!(!matches("{dev,prod}-*", "test-x", None));
        assert!(matches("a[-]b", "a-b", None));
    }

    #[test]
    fn an_empty_pattern_matches_only_nothing() {
        assert!(matches("", "", None));
        assert!(!matches("", "a", None));
        assert!(matches("*", "", None));
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "a*".repeat(200);
        assert!(!matches(&pattern, &"a".repeat(150), None));
        assert_eq!(Glob::new(&"{a,b}".repeat(20), None), Err(NotAGlob::TooMany));
        assert_eq!(Glob::new(&"a".repeat(3000), None), Err(NotAGlob::TooLong));
        assert_eq!(Glob::new("[ab", None), Err(NotAGlob::Open('[')));
        assert_eq!(Glob::new("{ab", None), Err(NotAGlob::Open('{')));
    }
}
