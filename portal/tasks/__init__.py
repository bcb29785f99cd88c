"""Long work in the background: what takes longer than a request, shows how far it is, and may leave a file behind.

A kind of work is one function that does one batch inside one transaction, and is called until it says that nothing
is left. A crash in between repeats at most the batch that was not committed, so nothing is done or written twice:

    @long_work("notes.export", needs="admin")
    def export_batch(session: Session, task: Task, now: datetime) -> bool:
        if task.total is None:
            task.total = count_notes(session)
        rows = notes_after(session, task.cursor.get("after", ""), limit=BATCH)
        add_part(session, task, "".join(line_of(row) for row in rows))
        task.done += len(rows)
        task.cursor = {"after": rows[-1].id} if rows else task.cursor
        return len(rows) == BATCH  # is there more?

`params` is what was asked, `cursor` where the next batch begins (assign a new dict, don't change it in place), `done`
of `total` what the progress bar shows, `outcome` one sentence at the end; a `Refusal` that is raised ends the work
with its sentence. The module that declares the kind is imported in `portal.durable`. A view starts it and leads to
its page, which is there for every kind; the file is for the one who asked, as long as the role still reaches that far:

    task = start_task(session, "notes.export", title="All notes", asked_by=email, now=now(),
                      file=File("notes.txt", "text/plain"))
    return redirect(url_for("dashboard.task", task=task.id), 303)

A day after its end it is forgotten with its file.
"""
