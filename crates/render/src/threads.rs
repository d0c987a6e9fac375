//! Work on many things at once, with the answers in the order of the things.

/// Fewer are done sooner by one thread.
const FEW: usize = 16;

/// Does `work` for each, on so many threads, and returns what came of it in order. A panic goes on in the caller.
pub(crate) fn each<T: Send, R: Send>(
    threads: usize,
    mut things: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    if threads < 2 || things.len() < FEW {
        return things.into_iter().map(work).collect();
    }
    let size = things.len().div_ceil(threads);
    let mut parts = Vec::with_capacity(threads);
    while things.len() > size {
        parts.push(things.split_off(things.len() - size));
    }
    // The parts were taken from the end; what is left over is the first of them.
    parts.reverse();
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part.into_iter().map(work).collect::<Vec<R>>()))
            .collect();
        let mut done: Vec<R> = things.into_iter().map(work).collect();
        for part in running {
            match part.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn answers_come_in_the_order_of_the_things() {
        for threads in 1..6 {
            for many in [0, 1, 15, 16, 17, 100, 1_001] {
                let things: Vec<usize> = (0..many).collect();
                let doubled: Vec<usize> = things.iter().map(|thing| thing * 2).collect();
                assert_eq!(each(threads, things, |thing| thing * 2), doubled);
            }
        }
    }
}
