//! Go's string literals.

/// What the literal `quoted`, with its quotes, stands for; nothing when Go would not take it, or when
/// its bytes are no text.
pub(super) fn unquote(quoted: &str) -> Option<String> {
    if let Some(raw) = quoted.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', ""));
    }
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = Vec::with_capacity(rest.len());
    while let Some(escape) = rest.find('\\') {
        text.extend_from_slice(&rest.as_bytes()[..escape]);
        let mut after = rest[escape + 1..].chars();
        let kind = after.next()?;
        rest = after.as_str();
        let simple = match kind {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '\\' => b'\\',
            '"' => b'"',
            'x' => u8::try_from(number(&mut rest, 2, 16)?).ok()?,
            '0'..='7' => {
                let low = number(&mut rest, 2, 8)?;
                u8::try_from(kind.to_digit(8)? * 64 + low).ok()?
            }
            'u' | 'U' => {
                let digits = if kind == 'u' { 4 } else { 8 };
                let character = char::from_u32(number(&mut rest, digits, 16)?)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        text.push(simple);
    }
    text.extend_from_slice(rest.as_bytes());
    String::from_utf8(text).ok()
}

/// The number of exactly `digits` digits that `rest` begins with.
fn number(rest: &mut &str, digits: usize, radix: u32) -> Option<u32> {
    let (number, after) = rest.split_at_checked(digits)?;
    if !number.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    *rest = after;
    u32::from_str_radix(number, radix).ok()
}
