"""What a paper would hold and a user never imports: run one as ``python -m studies.NAME`` in a checkout."""
