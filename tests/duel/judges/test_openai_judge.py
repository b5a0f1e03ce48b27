import json
import logging
import signal
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
from openai._models import construct_type  # as the client library builds its answers
from openai.types.chat import ChatCompletion

import duel.testing
from cache.answer_store import AnswerStore
from cache.ledger import SpendLedger, Terms
from duel.errors import JudgeError, LimitError, SettingsError, UserError
from duel.judges.billing import Billing, token_counts
from duel.judges.chat import check_ready, text_of
from duel.judges.grading import REASONING_KEYS, by_completion, read_verdict, replace_surrogates
from duel.judges.openai_judge import OpenAIJudge
from duel.judges.request_form import refused_parameter
from duel.rubrics import read_rubrics
from duel.services.prices import TokenPrices
from duel.settings import BudgetSettings
from duel.testing.faults import Faults
from duel.testing.openai import FAILURES, ODD_REPLIES, WRAPPED, OpenAIServer
from duel.types import Grade, Question

RUBRICS = read_rubrics(Path(next(iter(duel.testing.__path__))) / "constants.py")
BLUE = Question("1", "1.jpg", "Which colour?", "blue", 1)
SEVEN = Question("2", "2.jpg", "How many?", "7", 3)


def title(figure, truth):
    return Question(str(figure), f"{figure}.jpg", "Title?", truth, 0, question_id=1)


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def service(faults, monkeypatch):
    with OpenAIServer(faults=faults, retry_after=0.1, hang_seconds=5) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def judge(service):
    opened = OpenAIJudge("gpt-4.1", RUBRICS, timeout_seconds=0.3, deadline_seconds=20)
    yield opened
    opened.close()


def scores(grades):
    return [[grade.score for grade in row] for row in grades]


def test_answers_are_graded_right_and_wrong(judge):
    assert judge.grade(BLUE, ["Blue.", "red", ""]) == [Grade(1.0, "Blue."), Grade(0.0, "red"), Grade(0.0, "")]


def test_the_request_is_the_official_graders(judge, service):
    judge.grade(BLUE, ["blue"])
    [request] = service.requests
    assert request == {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": RUBRICS.grade_reasoning(BLUE, "blue")}],
        "response_format": {"type": "json_object"},
        "max_tokens": 256,
        "temperature": 0,
        "top_p": 1,
        "seed": 42,
        "n": 1,
    }


def test_each_answer_category_has_its_own_rubric(judge, service):
    judge.grade_all([BLUE, SEVEN], [["blue"], ["8"]])
    prompts = sorted(request["messages"][0]["content"] for request in service.requests)
    assert prompts == sorted([RUBRICS.grade_reasoning(BLUE, "blue"), RUBRICS.grade_reasoning(SEVEN, "8")])
    assert RUBRICS.reasoning_grading_inst[1] != RUBRICS.reasoning_grading_inst[3]


def test_equal_answers_are_one_request(judge, service):
    assert scores(judge.grade_all([BLUE, SEVEN], [["blue", "red", "blue"], ["7", "7", "7"]])) == [[1, 0, 1], [1, 1, 1]]
    assert service.counts()["requests"] == 3


def test_descriptive_answers_of_one_question_id_share_requests_of_up_to_five(judge, service):
    questions = [title(figure, f"t{figure}") for figure in range(7)]
    layout = Question("9", "9.jpg", "Layout of the subplots?", "1 by 2", 0, question_id=18)
    answers = [[f"t{figure}" if figure % 2 else "no"] for figure in range(7)]
    grades = judge.grade_all([*questions, layout], [*answers, ["1 by 2"]])
    assert scores(grades) == [[0], [1], [0], [1], [0], [1], [0], [1]]
    sizes = sorted(request["messages"][0]["content"].count("Ground Truth") for request in service.requests)
    assert sizes == [1, 2, 5]
    assert all("T6" not in request["messages"][0]["content"] for request in service.requests)


def test_a_shared_request_mixes_charts_before_samples():
    order = [(q.figure_id, row[0]) for q, row in by_completion([BLUE, SEVEN], [["a", "b"], ["c"]]) if row]
    assert order == [("1", "a"), ("2", "c"), ("1", "b")]


@pytest.mark.parametrize("fault", ["throttled", "error", "hang", "reset"])
def test_a_fault_of_the_service_is_retried(judge, service, faults, fault):
    faults.script("completion", fault)
    assert scores([judge.grade(BLUE, ["blue"])]) == [[1]]
    assert service.counts()["requests"] == 2


def test_retry_after_of_a_429_is_honoured(service, faults):
    service.retry_after = 1.0  # the library's own first wait is half a second at most
    faults.script("completion", "throttled")
    judge = OpenAIJudge("gpt-4.1", RUBRICS)
    started = time.monotonic()
    assert scores([judge.grade(BLUE, ["blue"])]) == [[1]]
    judge.close()
    assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize("fault", ["bad-json", "missing-keys", "bad-body"])
def test_an_unusable_verdict_is_retried(judge, service, faults, fault):
    faults.script("completion", fault, fault)
    assert judge.grade(BLUE, ["blue"]) == [Grade(1.0, "blue")]
    assert service.counts() == {"requests": 3, "verdicts": 1, "most_at_once": 1}
    assert {request["max_tokens"] for request in service.requests} == {256}


def test_a_truncated_verdict_is_retried_with_twice_the_tokens(judge, service, faults):
    faults.script("completion", "cut-json", "cut-json")
    assert scores([judge.grade(BLUE, ["blue"])]) == [[1]]
    assert [request["max_tokens"] for request in service.requests] == [256, 512, 1024]


def test_a_verdict_truncated_at_the_token_limit_leaves_the_answer_ungraded(judge, service, faults, caplog):
    faults.script("completion", *["cut-json"] * 7)
    with caplog.at_level(logging.WARNING, "duel.judges.openai_judge"):
        assert judge.grade(BLUE, ["blue"]) == [Grade(None, "")]
    assert [request["max_tokens"] for request in service.requests] == [256, 512, 1024, 2048, 4096, 8192, 16384]
    assert "the verdict is longer than 16384 tokens" in caplog.text
    assert "1 of 1 answers could not be graded" in caplog.text


def test_after_three_equal_replies_the_answer_is_ungraded_and_the_others_are_graded(judge, service, faults, caplog):
    faults.script("completion", *["bad-json"] * 3)
    judge.concurrency = 1
    with caplog.at_level(logging.WARNING, "duel.judges.openai_judge"):
        assert scores(judge.grade_all([BLUE, SEVEN], [["blue"], ["7"]])) == [[None], [1]]
    assert service.counts()["requests"] == 4
    assert "3 times the reply 'The score is 1.'" in caplog.text


@pytest.mark.parametrize("fault", ODD_REPLIES)
def test_after_ten_replies_of_another_shape_the_answer_is_ungraded(judge, service, faults, fault):
    faults.script("completion", *[fault] * 10)
    judge.concurrency = 1
    assert scores(judge.grade_all([BLUE, SEVEN], [["blue"], ["7"]])) == [[None], [1]]
    assert service.counts()["requests"] == 11


@pytest.mark.parametrize("form", WRAPPED)
def test_a_verdict_is_read_in_the_words_around_it(judge, service, faults, form):
    faults.script("completion", form)
    assert judge.grade(BLUE, ["blue"]) == [Grade(1.0, "blue")]
    assert service.counts()["requests"] == 1


def test_a_judge_that_never_gives_a_verdict_is_left_after_eight_answers(service, faults):
    faults.rates = {"bad-json": 1.0}
    judge = OpenAIJudge("gpt-4.1", RUBRICS, concurrency=1)
    with pytest.raises(UserError, match=r"no usable verdict on the first 8 answers \(3 times the reply .*set another"):
        judge.grade(BLUE, [f"answer {index}" for index in range(100)])
    judge.close()
    assert 24 <= service.counts()["requests"] < 30  # one more may have begun


@pytest.mark.parametrize(
    ("refused", "note", "sent"),
    [
        (["max_tokens"], "with max_completion_tokens", {"max_completion_tokens": 256}),
        (["temperature"], "without temperature", {"max_tokens": 256}),
        (["max_tokens", "temperature", "top_p"], "without temperature, without top_p, with max_completion_tokens", {}),
        (["response_format", "seed", "n"], "without response_format, without seed, without n", {"temperature": 0}),
        (["max_tokens", "max_completion_tokens"], "without a limit of tokens", {"top_p": 1}),
    ],
)
def test_what_a_model_refuses_of_the_request_is_left_out_once_and_for_all(judge, service, refused, note, sent):
    service.refuses = refused
    judge.concurrency = 1
    assert scores([judge.grade(BLUE, ["blue", "red", "green"])]) == [[1, 0, 0]]
    assert service.counts()["requests"] == 3 + len(refused)
    assert judge.note == note
    for request in service.requests:
        assert not request.keys() & set(refused)
        assert sent.items() <= request.items()


@pytest.mark.parametrize(
    ("code", "parameter", "message", "expected"),
    [
        ("unsupported_value", "temperature", "'temperature' does not support 0 with this model.", "temperature"),
        ("None", None, "Extra inputs are not permitted: [{'loc': ('body', 'seed')}]", "seed"),
        ("None", None, "Unrecognized request argument supplied: top_p", "top_p"),
        ("None", None, "response_format type json_object is not supported by this server", "response_format"),
        ("None", "messages", "messages: at least one message is required", None),
        ("None", None, "invalid request: extracted_answer and temperature", None),  # no "extra" parameter
        ("context_length_exceeded", "messages", "This model's maximum context length is 8192 tokens", None),
    ],
)
def test_the_refused_parameter_is_found_as_services_name_it(code, parameter, message, expected):
    assert refused_parameter(code, parameter, message) == expected


def test_a_reasoning_model_gets_the_tokens_that_it_needs(judge, service):
    service.reasoning, service.refuses = 3000, ["max_tokens", "temperature"]
    assert scores([judge.grade(BLUE, ["blue"])]) == [[1]]
    assert [request["max_completion_tokens"] for request in service.requests] == [256, 2048, 16384]


def test_a_reply_longer_than_the_model_writes_leaves_one_answer_ungraded(judge, faults, monkeypatch):
    too_large = (400, "invalid_value", "max_tokens is too large: 512. This model supports at most 400 tokens.")
    monkeypatch.setitem(FAILURES, "quota", too_large)
    faults.script("completion", "cut-json", "quota")
    judge.concurrency = 1
    assert scores(judge.grade_all([BLUE, SEVEN], [["blue"], ["7"]])) == [[None], [1]]


def test_a_prompt_that_the_service_filters_leaves_the_answer_ungraded(judge, faults):
    faults.script("completion", "filtered")
    assert judge.grade(BLUE, ["blue"]) == [Grade(None, "")]


def test_a_descriptive_batch_without_a_verdict_is_ungraded_as_a_whole(judge, faults):
    faults.script("completion", "filtered")
    assert scores(judge.grade_all([title(1, "a"), title(2, "b")], [["a"], ["b"]])) == [[None], [None]]


def test_a_second_evaluation_makes_no_request(service, tmp_path):
    questions = [BLUE, SEVEN, *(title(figure, "t") for figure in range(6))]
    answers = [[f"answer {index}" for index in range(4)] for _ in questions]
    with AnswerStore(tmp_path) as store:
        first = OpenAIJudge("gpt-4.1", RUBRICS, answer_once=store.answer_once)
        graded = first.grade_all(questions, answers)
        first.close()
    made = service.counts()["requests"]
    assert made == 4 + 4 + 5  # 24 descriptive answers in batches of 5
    with AnswerStore(tmp_path) as store:
        second = OpenAIJudge("gpt-4.1", RUBRICS, answer_once=store.answer_once)
        assert second.grade_all(questions, answers) == graded
        second.close()
    assert service.counts()["requests"] == made


def test_another_model_or_service_has_another_cache_key(service, tmp_path, monkeypatch):
    with AnswerStore(tmp_path) as store:
        for model in ("gpt-4.1", "gpt-4o-2024-05-13"):
            judge = OpenAIJudge(model, RUBRICS, answer_once=store.answer_once)
            judge.grade(BLUE, ["blue"])
            judge.close()
        assert service.counts()["requests"] == 2
        with OpenAIServer(key=service.key) as other:
            monkeypatch.setenv("OPENAI_BASE_URL", other.url)
            judge = OpenAIJudge("gpt-4.1", RUBRICS, answer_once=store.answer_once)
            judge.grade(BLUE, ["blue"])
            judge.close()
            assert other.counts()["requests"] == 1


def test_an_ungraded_answer_is_not_cached(service, faults, tmp_path):
    faults.script("completion", "filtered")
    with AnswerStore(tmp_path) as store:
        judge = OpenAIJudge("gpt-4.1", RUBRICS, answer_once=store.answer_once)
        assert scores([judge.grade(BLUE, ["blue"]), judge.grade(BLUE, ["blue"])]) == [[None], [1]]
        judge.close()


def test_all_faults_at_random_still_grade_every_answer(monkeypatch):
    rates = dict.fromkeys(["throttled", "error", "hang", "reset", "bad-body", "cut-json", *ODD_REPLIES, *WRAPPED], 0.03)
    rates |= {"bad-json": 0.01, "missing-keys": 0.01}  # rarely three times the same reply, which is the last
    questions = [
        *(Question(str(i), f"{i}.jpg", f"Number {i}?", str(i), 3) for i in range(24)),
        title(1, "a"),
        title(2, "b"),
    ]
    answers = [[question.ground_truth, "other"] for question in questions]
    with OpenAIServer(faults=Faults(rates, seed=2), retry_after=0.1, hang_seconds=5) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        judge = OpenAIJudge("gpt-4.1", RUBRICS, concurrency=16, timeout_seconds=1.0)
        assert scores(judge.grade_all(questions, answers)) == [[1, 0]] * len(questions)
        judge.close()
        assert sum(service.faults.counts.values()) >= 10
        assert service.counts()["verdicts"] == 49  # 48 reasoning answers; 4 descriptive ones share one request


def test_concurrent_requests_are_bounded(service):
    service.seconds = 0.05
    judge = OpenAIJudge("gpt-4.1", RUBRICS, concurrency=3)
    judge.grade(BLUE, [str(index) for index in range(12)])
    judge.close()
    assert service.counts()["most_at_once"] == 3


def test_the_deadline_raises_a_judge_error(service, faults):
    faults.script("completion", *["error"] * 20)
    judge = OpenAIJudge("gpt-4.1", RUBRICS, deadline_seconds=1.0)
    started = time.monotonic()
    with pytest.raises(JudgeError, match=r"127.0.0.1 gave no answer within 1 s, the last status was HTTP 500"):
        judge.grade(BLUE, ["blue"])
    judge.close()
    assert time.monotonic() - started < 4


def test_grades_before_a_failure_are_cached(service, faults, tmp_path):
    faults.script("completion", None, None, "unauthorized")
    with AnswerStore(tmp_path) as store:
        judge = OpenAIJudge("gpt-4.1", RUBRICS, answer_once=store.answer_once, concurrency=1)
        with pytest.raises(UserError):
            judge.grade(BLUE, ["1", "2", "3", "4", "5", "6"])
        stored = len(store)
        assert stored >= 2
        judge.grade(BLUE, ["1", "2", "3", "4", "5", "6"])
        judge.close()
        assert service.counts()["verdicts"] == 6


def test_a_rejected_api_key_is_not_retried(judge, service, faults):
    faults.script("completion", "unauthorized")
    with pytest.raises(UserError, match=r"127.0.0.1 refused the API key \(HTTP 401\); check it and its rights"):
        judge.grade(BLUE, ["blue"])
    assert service.counts()["requests"] == 1


def test_an_account_without_credit_is_said_at_once(judge, service, faults):
    faults.script("completion", "quota")
    with pytest.raises(UserError, match="has no credit left"):
        judge.grade(BLUE, ["blue"])
    assert service.counts()["requests"] == 1


def test_a_model_that_is_not_there_is_named(service, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", f"{service.url}/nowhere")
    elsewhere = OpenAIJudge("gpt-none", RUBRICS)
    with pytest.raises(UserError, match=r"has no model 'gpt-none' for this key; check judge.model"):
        elsewhere.grade(BLUE, ["blue"])
    elsewhere.close()


def test_a_missing_key_is_reported_before_any_request(service, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    for start in (check_ready, lambda: OpenAIJudge("gpt-4.1", RUBRICS)):
        with pytest.raises(SettingsError, match="needs OPENAI_API_KEY, which is not set"):
            start()
    assert service.counts()["requests"] == 0


def test_a_key_can_be_given_instead(service, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    judge = OpenAIJudge("gpt-4.1", RUBRICS, api_key=service.key)
    assert scores([judge.grade(BLUE, ["blue"])]) == [[1]]
    judge.close()


def test_no_error_log_or_repr_holds_the_key(service, monkeypatch, caplog):
    secret = "sk-secret-of-mine"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    judge = OpenAIJudge("gpt-4.1", RUBRICS)
    with caplog.at_level(logging.DEBUG), pytest.raises(UserError) as caught:
        judge.grade(BLUE, ["blue"])  # the server's message repeats the key
    judge.close()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(judge) + str(vars(judge))
    assert secret not in shown
    assert caught.value.__context__ is None  # the library's error holds the request and its headers
    assert caught.value.__cause__ is None


def test_a_lone_surrogate_is_replaced_before_sending():
    assert replace_surrogates("a\ud800b") == "a?b"


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ('{"extracted_answer": "B", "score": 1}', Grade(1.0, "B")),
        ('{"extract_answer": "B", "score": 0}', Grade(0.0, "B")),  # the official instructions have both names
        ('{"extracted_answer": null, "score": 0}', Grade(0.0, "")),
        ('{"extracted_answer": 3.5, "score": 1.0}', Grade(1.0, "3.5")),
        ('{"extracted_answer": "B", "score": 2}', None),
        ('{"extracted_answer": "B", "score": "1"}', Grade(1.0, "B")),
        ('{"extracted_answer": "B", "score": " 0.0"}', Grade(0.0, "B")),
        ('{"extracted_answer": "B", "score": true}', None),
        ('{"extracted_answer": "B", "score": "yes"}', None),
        ('```json\n{"extracted_answer": "B", "score": 1}\n```', Grade(1.0, "B")),
        ('<think>{"extracted_answer": "A", "score": 0}</think>{"extracted_answer": "B", "score": 1}', Grade(1.0, "B")),
        ('<think>a set {1, 2}</think> {"extracted_answer": "{B}", "score": 1} Done.', Grade(1.0, "{B}")),
        ('[{"extracted_answer": "B", "score": 1}]', Grade(1.0, "B")),
        ("{" * 100_000, None),
        ('<think>perhaps {"extracted_answer": "A", "score": 0}, but', None),  # cut while it was thinking
        (
            '<think>a</think>{"extracted_answer": "B", "score": 1}<think>or {"extracted_answer": "A", "score": 0}',
            Grade(1.0, "B"),
        ),
        ('{"extracted_answer": "B"}', None),
        ('{"score": 1}', None),
        ("[1]", None),
        ("", None),
        ("[" * 100_000, None),
    ],
)
def test_only_a_complete_verdict_is_parsed(text, grade):
    assert read_verdict(text, REASONING_KEYS) == (None if grade is None else [grade])


def test_one_invalid_score_invalidates_the_verdict():
    keys = [("extract_answer_T1", "score_T1"), ("extract_answer_T2", "score_T2")]
    verdict = {"extract_answer_T1": "a", "score_T1": 1, "extract_answer_T2": "b", "score_T2": -1}
    assert read_verdict(json.dumps(verdict), keys) is None
    assert read_verdict(json.dumps({**verdict, "score_T2": 0}), keys) == [Grade(1.0, "a"), Grade(0.0, "b")]


@pytest.mark.parametrize("fault", ["endless", "bomb"])
def test_a_response_without_bound_is_an_error_of_the_service(service, faults, fault):
    faults.script("completion", fault)
    judge = OpenAIJudge("gpt-4.1", RUBRICS, timeout_seconds=5, deadline_seconds=20)
    with pytest.raises(JudgeError, match=r"127.0.0.1: the response is larger than 4 MiB \((sent|decompressed)\)"):
        judge.grade(BLUE, ["blue"])
    judge.close()


def test_a_grade_is_counted_by_the_services_tokens_within_the_budget(service, faults, tmp_path):
    terms = Terms(service.url, "gpt-4.1", budget=BudgetSettings(usd=1.0))
    with SpendLedger(tmp_path / "spend.sqlite", "run", terms=terms) as ledger:
        billing = Billing(ledger, TokenPrices(input=1000.0, output=3000.0))  # dollars per million
        judge = OpenAIJudge("gpt-4.1", RUBRICS, billing=billing)
        with pytest.raises(LimitError, match="budget.usd = 1 is reached"):
            judge.grade(BLUE, ["blue " * 200])  # a prompt of a thousand bytes may cost a dollar
        assert (service.counts()["requests"], ledger.spend("run").grades) == (0, 0)
        judge.close()
        cheap = OpenAIJudge("gpt-4.1", RUBRICS, billing=Billing(ledger, TokenPrices(input=10.0, output=30.0)))
        faults.script("completion", "bad-json")
        assert scores([cheap.grade(BLUE, ["blue"])]) == [[1]]
        cheap.close()
        spend = ledger.spend("run")
    assert spend.grades == 2  # the first reply was no JSON, and cost as much
    assert spend.grade_dollars == pytest.approx(2 * 40e-6)  # the fake counts a token in and one out


def test_a_stop_request_does_not_wait_for_a_judge_that_hangs(service, faults, monkeypatch):
    monkeypatch.setattr("duel.services.stopping.FINISH", 0.2)
    faults.script("completion", *["hang"] * 20)
    judge = OpenAIJudge("gpt-4.1", RUBRICS, timeout_seconds=0.5, deadline_seconds=1.5)
    main = threading.main_thread().ident
    threading.Timer(0.2, signal.pthread_kill, [main, signal.SIGINT]).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        judge.grade(BLUE, ["blue"])
    assert time.monotonic() - started < 1.2
    judge.close()
    for thread in threading.enumerate():
        if thread.name.startswith("request-"):
            thread.join()


@pytest.mark.parametrize(
    "body",
    [{"choices": [None]}, {"choices": "abc"}, {"choices": {"a": 1}}, {"choices": [{"message": {"content": ["a"]}}]}, 7],
)
def test_a_reply_of_another_shape_holds_no_text(body):
    assert text_of(construct_type(type_=ChatCompletion, value=body)) == ("", False)


@pytest.mark.parametrize("count", [float("nan"), -1, "12", True, None, 10**30])
def test_a_count_of_tokens_that_cannot_be_true_is_none(count):
    reply = construct_type(
        type_=ChatCompletion, value={"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": count}}
    )
    assert token_counts(reply.usage) is None
    assert token_counts(SimpleNamespace(prompt_tokens=3, completion_tokens=4)) == (3, 4)
