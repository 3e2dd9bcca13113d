"""Every counter of a worker, declared once (Prometheus)."""

from prometheus_client import Counter, Gauge, Histogram

from serving.batch_histogram import BatchHistogram

EVENTS = Counter("nextclick_events", "Events decoded.", ["kind"])
DEAD_LETTERS = Counter(
    "nextclick_dead_letters", "Records sent to the dead-letter topic.", ["reason"]
)
LEFT_OUT = Counter(
    "nextclick_left_out", "Records of which their topic's mapping makes no event.", ["topic"]
)
LISTS = Counter("nextclick_lists", "Lists published.", ["cause"])
EMPTY_LISTS = Counter("nextclick_empty_lists", "Lists without an item: the catalogue is empty.")
KNOWN_EVENTS = Counter(
    "nextclick_known_events", "Events the profile already had, or was too full or too new for."
)
CONFLICTING_IDS = Counter(
    "nextclick_conflicting_ids", "New events with the id and time of another event of their user."
)
NAMED_ITEMS = Counter("nextclick_named_items", "Events that name an item and go into a profile.")
UNKNOWN_ITEMS = Counter(
    "nextclick_unknown_items", "Of these, those of items that are not in the catalogue."
)
UNLEARNED_ITEMS = Counter(
    "nextclick_unlearned_items",
    "Of these, those of items that are not in the catalogue, or that the network has not learned.",
)
MERGES = Counter(
    "nextclick_merges",
    "Merges into profiles: of one that was held, refused since it had changed meanwhile, fetched.",
    ["profile"],
)
NEW_USERS = Counter("nextclick_new_users", "Users seen without any profile before.")
KEY_MISMATCHES = Counter(
    "nextclick_key_mismatches", "Records whose key is not their user_id; order is not kept there."
)
WITHOUT_LIST = Counter("nextclick_events_without_list", "Events that publish no list.", ["why"])
RETRIES = Counter("nextclick_retries", "Steps tried again because a part was away.", ["part"])
BATCH_EVENTS = Histogram(
    "nextclick_batch_events", "Events in a micro-batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
BATCH_LISTS = Histogram(
    "nextclick_batch_lists",
    "Lists that one run of the network is made for.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
COUNT_READS = Counter(
    "nextclick_count_reads",
    "Sets of the shared counts that lists are made of: held since an earlier read, or fetched.",
    ["set"],
)
TEXT_READS = Counter(
    "nextclick_text_reads",
    "Texts of items whose vectors were wanted: held in the cache on disk, or encoded.",
    ["text"],
)
STEP_SECONDS = Histogram(
    "nextclick_step_seconds",
    "Time a micro-batch spends in a step.",
    ["step"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
LATENCY = BatchHistogram(
    "nextclick_latency_seconds",
    "Time from the timestamp of the newest record that a list has seen until the list is stored in "
    "its topic; by the clocks of whoever wrote the record and of this worker.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
TOP_SCORES = BatchHistogram(
    "nextclick_top_score",
    "What the network gives the item that it finds nearest to a user; drift moves it.",
    buckets=(-16, -8, -4, -2, -1, 0, 1, 2, 4, 6, 8, 10, 12, 16, 24, 32),
)
LAG = Gauge(
    "nextclick_lag_records",
    "Records behind the first that is not done, as the broker's last answer told, of the "
    "partitions that have brought any.",
    ["topic", "partition"],
)
COMMITS = Counter("nextclick_commits", "Commits of offsets.", ["outcome"])
REDELIVERED = Counter(
    "nextclick_redelivered_records", "Records that this worker has been given before."
)
FEEDBACK = Counter(
    "nextclick_feedback",
    "Items of lists that were shown, clicked, put into the cart or bought, as this worker has seen "
    "it; an item of several sources counts for each.",
    ["kind", "source", "position", "bundle"],
)
UNATTRIBUTED = Counter(
    "nextclick_unattributed",
    "Events that name a list which is not remembered, or none of whose items it has.",
    ["kind"],
)
RESPONSE_SHARE = Gauge(
    "nextclick_response_share",
    "Share of the shown items that were clicked, put into the cart or bought, decayed by event "
    "time; of the shared counts, so the same in every worker.",
    ["kind", "source", "position", "bundle"],
)
CLICK_THROUGH = Gauge(
    "nextclick_click_through",
    "Clicks per look at a shown item, position bias corrected; of the shared counts.",
    ["source", "bundle"],
)
CATALOG_ITEMS = Gauge("nextclick_catalog_items", "Items that may be recommended now.")
CATALOG_NEWEST = Gauge(
    "nextclick_catalog_newest_timestamp_seconds",
    "Epoch seconds of the newest record of the catalogue; 0 while there is none.",
)
BAD_ITEMS = Counter("nextclick_bad_items", "Catalogue records that break the contract.")
PROVIDER = Gauge("nextclick_provider", "1 for the execution provider really in use.", ["provider"])
PLACED = Counter(
    "nextclick_placed_items", "Items that a rule has put where they stand in a list.", ["how"]
)
RULES = Gauge("nextclick_rules", "Rules of lists in force.")
RULES_AT_FAULT = Gauge(
    "nextclick_rules_at_fault", "1 while the rules in force are older than a file that is at fault."
)
STALLED = Gauge("nextclick_stalled", "1 while this worker has stalled: only a new start helps.")
READY = Gauge("nextclick_ready", "1 while this worker serves; 0 while it starts or waits.")
GENERATION = Gauge("nextclick_generation", "The generation of profiles and counts in use.")
WAITING = Gauge("nextclick_waiting", "Waits for a part that is away or at fault.", ["part"])
API_REQUESTS = Counter(
    "nextclick_api_requests", "Requests answered by the HTTP API.", ["operation", "status"]
)
API_SECONDS = Histogram(
    "nextclick_api_seconds",
    "Time from the head of a request to the end of its answer.",
    ["operation"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
API_QUESTIONS = Histogram(
    "nextclick_api_questions",
    "Lists on demand in a micro-batch.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
