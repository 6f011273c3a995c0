-- What a host said, when it opened its stream, that it knows beyond the first description of payloads; and
-- what its newest update was made for. Words with commas; nothing for a host that says nothing.
ALTER TABLE hosts ADD COLUMN understands TEXT NOT NULL DEFAULT '';
ALTER TABLE host_updates ADD COLUMN understands TEXT NOT NULL DEFAULT '';
